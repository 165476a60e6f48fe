#include "quern/explain/lime.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quern/base/error.h"
#include "quern/base/interrupt.h"
#include "quern/base/random.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/evaluation_progress.h"
#include "quern/explain/evaluator.h"
#include "quern/explain/ridge.h"

namespace quern::explain {
namespace {

/// Appends sample number `index` (of which 0 is the input itself), and gives its weight.
using Sampler = std::function<double(size_t index, Coalitions& coalitions)>;
using Answers = std::function<void(const Coalitions& samples, std::span<double> answers)>;

/// Whether each of the leading coefficients is clear of the next by 95 %. Those that are clear of a
/// twentieth of the largest, from below, need no order.
bool leading_are_clear(const RidgeFit& fit, size_t leading) {
  std::vector<size_t> order(fit.coefficients.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto size = [&](size_t i) { return std::abs(fit.coefficients[i]); };
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return size(a) > size(b); });
  for (size_t i = 0; i + 1 < order.size() && i < leading; ++i) {
    const double most = size(order[i]) + 1.96 * fit.standard_errors[order[i]];
    if (most < 0.05 * size(order.front())) return true;
    const double error =
        std::hypot(fit.standard_errors[order[i]], fit.standard_errors[order[i + 1]]);
    if (size(order[i]) - size(order[i + 1]) < 1.96 * error) return false;
  }
  return true;
}

/// What a fit says, with its 95 % margins.
void write(RidgeFit fit, size_t samples, const LimeOptions& options, LimeFit& result) {
  const size_t parts = fit.coefficients.size();
  result.samples = samples;
  result.stable = leading_are_clear(fit, std::max<size_t>(options.leading, 1));
  const double quantile =
      student_t975(std::max(1.0, static_cast<double>(samples) - static_cast<double>(parts) - 1));
  result.margins = fit.standard_errors;
  for (double& margin : result.margins) margin *= quantile;
  result.local_value =
      std::accumulate(fit.coefficients.begin(), fit.coefficients.end(), fit.intercept);
  result.coefficients = std::move(fit.coefficients);
  result.standard_errors = std::move(fit.standard_errors);
  result.intercept = fit.intercept;
  result.r_squared = fit.r_squared;
}

bool may_stop(const LimeFit& fit, const LimeOptions& options) {
  return (options.leading > 0 && fit.stable) ||
         (options.tolerance > 0 && std::ranges::max(fit.margins) <= options.tolerance);
}

LimeFit fit_near(size_t parts, size_t samples, const LimeOptions& options, const Sampler& sampler,
                 const Answers& answers) {
  constexpr size_t kBatch = 256;
  constexpr size_t kLeast = 512;  // before the order of parts is judged
  if (samples < parts + 2) {
    throw UsageError(
        "too_few_evaluations",
        fmt::format("--max-evals {}: method 'lime' takes at least {} samples for {} parts", samples,
                    parts + 2, parts),
        fmt::format("give --max-evals {} or more", parts + 2));
  }
  Coalitions all(parts);
  std::vector<double> values, weights;
  LimeFit result;
  size_t next_judged =
      options.leading > 0 || options.tolerance > 0 ? kLeast : std::numeric_limits<size_t>::max();
  const EvaluationProgress progress(options.reporter, samples);
  for (bool last = false; !last;) {
    const size_t first = all.count(), count = std::min(kBatch, samples - first);
    Coalitions batch(parts);
    for (size_t i = 0; i < count; ++i) {
      weights.push_back(sampler(first + i, batch));
      all.add(batch[i]);
    }
    values.resize(all.count());
    answers(batch, std::span(values).subspan(first));
    require_finite(batch, std::span(values).subspan(first));
    progress.tell(all.count());
    last = all.count() == samples || (interrupted() && all.count() >= parts + 2);
    if (!last && all.count() < next_judged) continue;
    next_judged *= 2;
    write(fit_ridge(all, values, weights, options.ridge), all.count(), options, result);
    last = last || may_stop(result, options);
  }
  result.value = values.front();
  return result;
}

double cosine_distance(std::span<const uint8_t> shown) {
  const auto count = static_cast<double>(std::ranges::count(shown, uint8_t{1}));
  return 1 - std::sqrt(count / static_cast<double>(shown.size()));
}

LimeFit lime_game(Game& game, size_t samples, const LimeOptions& options, const Sampler& sampler) {
  if (game.players() == 0) throw Error("nothing_to_explain", "the input has no parts to hide");
  return fit_near(
      game.players(), samples, options, sampler,
      [&](const Coalitions& batch, std::span<double> answers) { game.evaluate(batch, answers); });
}

/// A draw from the normal distribution of a bin, cut at its ends.
double draw_from_bin(const LimeColumn& column, size_t bin, Random& random) {
  if (bin >= column.low.size()) return std::numeric_limits<double>::quiet_NaN();
  constexpr int kTries = 64;
  for (int i = 0; i < kTries; ++i) {
    const double x = column.means[bin] + column.deviations[bin] * random.normal();
    if (x >= column.low[bin] && x <= column.high[bin]) return x;
  }
  return column.means[bin];
}

size_t draw_bin(const LimeColumn& column, Random& random) {
  double at = random.uniform();
  size_t last = 0;  // that has any
  for (size_t bin = 0; bin < column.frequencies.size(); ++bin) {
    if (column.frequencies[bin] == 0) continue;
    if (at < column.frequencies[bin]) return bin;
    at -= column.frequencies[bin];
    last = bin;
  }
  return last;
}

double quantile(std::span<const double> sorted, double at) {
  const double place = at * static_cast<double>(sorted.size() - 1);
  const size_t low = static_cast<size_t>(place);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (place - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

LimeOptions lime_options(const EstimateOptions& options) {
  constexpr size_t kLeading = 5;
  return {.seed = options.seed,
          .samples = options.max_evaluations,
          .leading = kLeading,
          .tolerance = options.tolerance,
          .reporter = options.reporter};
}

Attribution lime_attribution(LimeFit fit, const LimeOptions& options) {
  Attribution result;
  result.method = "lime";
  result.base_is = "in the linear model with every part hidden";
  result.base = fit.intercept;
  result.value = fit.value;
  result.phi = std::move(fit.coefficients);
  result.standard_errors = std::move(fit.standard_errors);
  result.margins = std::move(fit.margins);
  result.seed = options.seed;
  result.evaluations = fit.samples;
  result.converged = std::ranges::max(result.margins) <= options.tolerance;
  result.local = {fit.local_value, fit.r_squared, fit.samples, fit.stable};
  return result;
}

double lime_weight(double distance, double width) {
  return std::sqrt(std::exp(-distance * distance / (width * width)));
}

LimeFit lime_text(Game& game, const LimeOptions& options) {
  const size_t words = game.players();
  const auto sampler = [&](size_t index, Coalitions& coalitions) {
    const auto flags = coalitions.add();
    Random random(options.seed, Stream::kCoalition, index);
    random_subset(index == 0 ? words : words - 1 - random.below(words), random, flags);
    return lime_weight(100 * cosine_distance(flags), 25);
  };
  return lime_game(game, options.samples == 0 ? 5000 : options.samples, options, sampler);
}

LimeFit lime_picture(Game& game, const LimeOptions& options) {
  const auto sampler = [&](size_t index, Coalitions& coalitions) {
    const auto flags = coalitions.add();
    Random random(options.seed, Stream::kCoalition, index);
    for (uint8_t& flag : flags) flag = index == 0 || (random.next_u32() & 1) != 0 ? 1 : 0;
    return lime_weight(cosine_distance(flags), 0.25);
  };
  return lime_game(game, options.samples == 0 ? 1000 : options.samples, options, sampler);
}

LimeColumn lime_column(std::span<const double> values, bool category) {
  if (values.empty()) throw Error("no_rows", "a column of no rows has no quartiles");
  LimeColumn column;
  column.category = category;
  std::vector<double> sorted;
  std::ranges::copy_if(values, std::back_inserter(sorted), [](double x) { return !std::isnan(x); });
  std::ranges::sort(sorted);
  if (!category && !sorted.empty()) {
    for (const double at : {0.25, 0.5, 0.75}) {
      const double edge = quantile(sorted, at);
      if (column.edges.empty() || edge > column.edges.back()) column.edges.push_back(edge);
    }
  }
  const size_t bins = category ? static_cast<size_t>(sorted.back()) + 1 : column.edges.size() + 2;
  std::vector<double> sums(bins, 0.0), squares(bins, 0.0);
  column.frequencies.assign(bins, 0);
  for (const double x : values) {
    const size_t bin = lime_bin(column, x);
    ++column.frequencies[bin];
    sums[bin] += x;
    squares[bin] += x * x;
  }
  if (!column.edges.empty()) {
    column.low = column.high = column.edges;
    column.low.insert(column.low.begin(), sorted.front());
    column.high.push_back(sorted.back());
  }
  for (size_t bin = 0; bin < bins; ++bin) {
    const double count = std::max(column.frequencies[bin], 1.0);
    const double mean = sums[bin] / count;
    column.means.push_back(mean);
    column.deviations.push_back(std::sqrt(std::max(squares[bin] / count - mean * mean, 0.0)));
    column.frequencies[bin] /= static_cast<double>(values.size());
  }
  return column;
}

size_t lime_bin(const LimeColumn& column, double value) {
  if (column.category) return static_cast<size_t>(value);
  if (std::isnan(value)) return column.edges.size() + 1;
  return static_cast<size_t>(std::ranges::lower_bound(column.edges, value) - column.edges.begin());
}

LimeFit lime_row(const RowModel& model, std::span<const double> row,
                 std::span<const LimeColumn> columns, const LimeOptions& options) {
  const size_t width = row.size();
  if (width == 0) throw Error("nothing_to_explain", "the row has no columns");
  std::vector<double> rows;
  const auto sampler = [&](size_t index, Coalitions& coalitions) {
    const auto flags = coalitions.add();
    Random random(options.seed, Stream::kCoalition, index);
    if (coalitions.count() == 1) rows.clear();  // the first of a batch
    size_t changed = 0;
    for (size_t i = 0; i < width; ++i) {
      const size_t own = lime_bin(columns[i], row[i]);
      const size_t bin = index == 0 ? own : draw_bin(columns[i], random);
      flags[i] = bin == own ? 1 : 0;
      changed += 1U - flags[i];
      rows.push_back(index == 0            ? row[i]
                     : columns[i].category ? static_cast<double>(bin)
                                           : draw_from_bin(columns[i], bin, random));
    }
    return lime_weight(std::sqrt(static_cast<double>(changed)),
                       0.75 * std::sqrt(static_cast<double>(width)));
  };
  return fit_near(width, options.samples == 0 ? 5000 : options.samples, options, sampler,
                  [&](const Coalitions&, std::span<double> answers) { model(rows, answers); });
}

}  // namespace quern::explain
