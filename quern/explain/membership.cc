#include "quern/explain/membership.h"

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/explain/attribution.h"
#include "quern/explain/moments.h"
#include "quern/metrics/classification.h"

namespace quern::explain {
namespace {

Moments moments_of(std::span<const double> values) {
  Moments moments;
  for (const double value : values) moments.add(value);
  return moments;
}

}  // namespace

std::vector<double> row_losses(const run::RowPipeline& pipeline, const task::RowAnswers& rows) {
  std::vector<double> losses;
  if (pipeline.task == "regress") {
    for (size_t i = 0; i < rows.answers.size(); ++i) {
      losses.push_back(std::pow(static_cast<double>(rows.answers[i] - rows.targets.values[i]), 2));
    }
    return losses;
  }
  const size_t classes = pipeline.classes.size();
  for (size_t i = 0; i < rows.targets.classes.size(); ++i) {
    const float p = rows.answers[i * classes + static_cast<size_t>(rows.targets.classes[i])];
    losses.push_back(-std::log(std::max(static_cast<double>(p), 1e-15)));
  }
  return losses;
}

Membership membership(std::span<const double> train, std::span<const double> held_out,
                      uint64_t seed) {
  if (train.size() < 2 || held_out.size() < 2) {
    throw Error("too_few_rows", "fewer than two rows were held out from training",
                "diagnose a run with more data, or a larger data.validation");
  }
  const Moments a = moments_of(train), b = moments_of(held_out);
  Membership result;
  result.train_rows = train.size();
  result.held_out_rows = held_out.size();
  result.train_loss = a.mean();
  result.held_out_loss = b.mean();
  const double va = std::pow(a.standard_error(), 2), vb = std::pow(b.standard_error(), 2);
  const double gap = b.mean() - a.mean();
  double margin = 0;
  if (va + vb > 0) {
    const double degrees = (va + vb) * (va + vb) /
                           (va * va / static_cast<double>(a.count() - 1) +
                            vb * vb / static_cast<double>(b.count() - 1));
    margin = student_t975(degrees) * std::sqrt(va + vb);
  }
  result.gap = {gap, gap - margin, gap + margin};
  // A row is guessed to be a member by exp(-loss), which keeps the order of losses.
  std::vector<float> guesses;
  std::vector<int32_t> labels;
  const auto add = [&](std::span<const double> losses, int32_t label) {
    for (const double loss : losses) {
      const auto guess = static_cast<float>(std::exp(-loss));
      guesses.insert(guesses.end(), {1 - guess, guess});
      labels.push_back(label);
    }
  };
  add(train, 1);
  add(held_out, 0);
  const metrics::Classified attack{guesses, labels, 2, 1, 0.5};
  result.auc = metrics::bootstrap(
      labels.size(),
      [&](std::span<const float> counts) { return metrics::roc_auc(attack, counts); }, seed);
  return result;
}

}  // namespace quern::explain
