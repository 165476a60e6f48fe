#include "quern/explain/counterfactual.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/number.h"

namespace quern::explain {
namespace {

constexpr size_t kBeam = 24;
constexpr size_t kNumbers = 24;     // values tried of a number column
constexpr size_t kCategories = 60;  // and of a category column
constexpr double kCategoryDistance = 0.5;

/// One column with another value.
struct Move {
  size_t part = 0;
  bool number = false;
  size_t feature = 0;
  double value = 0;  // of a number
  int32_t id = 0;    // of a category
  double distance = 0;
};

struct State {
  std::vector<Move> moves;
  double margin = 0;  // above 0: the decision is another

  double distance() const {
    double sum = 0;
    for (const Move& move : moves) sum += move.distance;
    return sum;
  }
};

class Search {
 public:
  Search(const run::RowRun& run, infer::RowPredictor& predictor, const ExplainedRow& row,
         const CounterfactualOptions& options)
      : run_(run), predictor_(predictor), row_(row), options_(options) {}

  Counterfactual find() {
    before_ = answer_of({});
    present_ = run::chosen_class(run_.pipeline, before_);
    wanted_ = wanted_class();
    std::vector<Move> singles;
    for (size_t part = 0; part < row_.parts.size(); ++part) add_moves(part, singles);
    std::vector<State> beam = {State{}};
    Counterfactual out;
    out.asked = true;
    out.from_class = run_.pipeline.classes[present_];
    for (size_t round = 0; round < options_.most_changes; ++round) {
      std::vector<State> next = extend(beam, singles);
      if (next.empty()) break;
      measure(next);
      const State* best = nullptr;
      for (const State& state : next)
        if (state.margin > 0 && (best == nullptr || state.distance() < best->distance()))
          best = &state;
      if (best != nullptr) return told(refined(*best), std::move(out));
      std::ranges::stable_sort(next,
                               [](const State& a, const State& b) { return a.margin > b.margin; });
      next.resize(std::min(next.size(), kBeam));
      beam = std::move(next);
    }
    return out;
  }

 private:
  size_t wanted_class() const {
    const auto& classes = run_.pipeline.classes;
    if (options_.wanted.empty()) return classes.size();
    return static_cast<size_t>(std::ranges::find(classes, options_.wanted) - classes.begin());
  }

  bool permitted(const std::string& column) const {
    return options_.permitted.empty() ||
           std::ranges::find(options_.permitted, column) != options_.permitted.end();
  }

  void add_moves(size_t index, std::vector<Move>& moves) const {
    const RowPart& part = row_.parts[index];
    if (part.kind != RowPart::Kind::kColumn || !permitted(part.name)) return;
    for (const size_t feature : part.numbers) {
      const features::NumberFeature& number = run_.pipeline.columns.numbers()[feature];
      if (number.source != features::NumberSource::kValue) continue;
      const size_t step = (number.knots.size() + kNumbers - 1) / kNumbers;
      for (size_t i = 0; i < number.knots.size(); i += step)
        moves.push_back(number_move(index, feature, number.knots[i]));
    }
    for (const size_t feature : part.categories) {
      const int64_t size = run_.pipeline.columns.categories()[feature].size();
      const auto last = static_cast<int32_t>(std::min<int64_t>(size, kCategories + 1));
      for (int32_t id = 1; id < last; ++id)
        if (id != row_.inputs.columns.category_ids[feature])
          moves.push_back({index, false, feature, 0, id, kCategoryDistance});
    }
  }

  Move number_move(size_t part, size_t feature, double value) const {
    const features::NumberFeature& number = run_.pipeline.columns.numbers()[feature];
    const float own = row_.inputs.columns.places[feature];
    const double way = std::isnan(own)
                           ? 1.0
                           : std::abs(static_cast<double>(number.place(value) - own)) /
                                 static_cast<double>(std::max<int64_t>(1, number.pieces()));
    return {part, true, feature, value, 0, way};
  }

  static std::vector<State> extend(const std::vector<State>& beam, const std::vector<Move>& moves) {
    std::vector<State> next;
    for (const State& state : beam) {
      for (const Move& move : moves) {
        const bool again = std::ranges::any_of(
            state.moves, [&](const Move& other) { return other.part == move.part; });
        if (again || move.distance == 0) continue;
        State longer = state;
        longer.moves.push_back(move);
        next.push_back(std::move(longer));
      }
    }
    return next;
  }

  task::RowInputs inputs_of(std::span<const State> states) const {
    task::RowInputs inputs = row_.inputs.select(std::vector<size_t>(states.size(), 0));
    features::EncodedRows& columns = inputs.columns;
    for (size_t i = 0; i < states.size(); ++i) {
      for (const Move& move : states[i].moves) {
        if (move.number) {
          columns.places[i * static_cast<size_t>(columns.numbers) + move.feature] =
              run_.pipeline.columns.numbers()[move.feature].place(move.value);
        } else {
          columns.category_ids[i * static_cast<size_t>(columns.categories) + move.feature] =
              move.id;
        }
      }
    }
    if (run_.config.has_text()) columns.texts.assign(states.size(), row_.text);
    inputs.linear = task::linear_scores(columns, run_);
    return inputs;
  }

  std::vector<float> answer_of(const State& state) {
    ++asked_;
    return predictor_.predict_fixed(inputs_of(std::span(&state, 1)), run_.pipeline.temperature);
  }

  void measure(std::vector<State>& states) {
    constexpr size_t kPiece = 1024;
    const auto outputs = static_cast<size_t>(run_.config.outputs);
    for (size_t first = 0; first < states.size(); first += kPiece) {
      const std::span<State> piece =
          std::span(states).subspan(first, std::min(kPiece, states.size() - first));
      const std::vector<float> answers =
          predictor_.predict_fixed(inputs_of(piece), run_.pipeline.temperature);
      for (size_t i = 0; i < piece.size(); ++i)
        piece[i].margin = margin_of(std::span(answers).subspan(i * outputs, outputs));
      asked_ += piece.size();
    }
  }

  /// How far the decision is from the present one to the wanted one; above 0: it is there.
  double margin_of(std::span<const float> p) const {
    const run::RowPipeline& pipeline = run_.pipeline;
    if (pipeline.positive >= 0) {
      const auto positive = static_cast<size_t>(pipeline.positive);
      const double over = static_cast<double>(p[positive]) - pipeline.threshold;
      // Deciding for the positive class takes no more than to reach the threshold.
      return present_ == positive ? -over : over >= 0 ? std::max(over, 1e-12) : over;
    }
    double best = -1;
    for (size_t i = 0; i < p.size(); ++i)
      if (i != present_ && (wanted_ >= p.size() || i == wanted_))
        best = std::max(best, static_cast<double>(p[i]));
    double rest = 0;
    for (size_t i = 0; i < p.size(); ++i)
      if (wanted_ >= p.size() ? i == present_ : i != wanted_)
        rest = std::max(rest, static_cast<double>(p[i]));
    return best - rest;
  }

  /// Numbers moved back towards their own value as far as the decision holds, one after another.
  State refined(State state) {
    constexpr int kRounds = 3, kSteps = 16;
    for (size_t m = 0; m < state.moves.size(); ++m) {
      if (!state.moves[m].number) continue;
      const size_t feature = state.moves[m].feature;
      const features::NumberFeature& number = run_.pipeline.columns.numbers()[feature];
      const auto own = own_number(state.moves[m].part);
      if (!own) continue;
      const bool whole =
          std::ranges::all_of(number.knots, [](double knot) { return knot == std::floor(knot); });
      double near = *own, far = state.moves[m].value;  // far holds
      for (int round = 0; round < kRounds; ++round) {
        std::vector<State> tries;
        for (int i = 1; i <= kSteps; ++i) {
          double value = near + (far - near) * i / kSteps;
          if (whole) value = far > near ? std::ceil(value) : std::floor(value);
          State one = state;
          one.moves[m] = number_move(one.moves[m].part, feature, value);
          tries.push_back(std::move(one));
        }
        measure(tries);
        const auto first =
            std::ranges::find_if(tries, [](const State& one) { return one.margin > 0; });
        if (first == tries.end()) break;
        if (first != tries.begin()) near = std::prev(first)->moves[m].value;
        far = first->moves[m].value;
        state = *first;
      }
    }
    return state;
  }

  std::optional<double> own_number(size_t part) const {
    return data::parse_written_number(row_.parts[part].value);
  }

  Counterfactual told(const State& state, Counterfactual out) {
    const std::vector<float> after = answer_of(state);
    const size_t to = run::chosen_class(run_.pipeline, after);
    out.found = true;
    out.to_class = run_.pipeline.classes[to];
    out.before = static_cast<double>(before_[to]);
    out.after = static_cast<double>(after[to]);
    out.rows_answered = asked_;
    for (const Move& move : state.moves) {
      const RowPart& part = row_.parts[move.part];
      out.changes.push_back({part.name, part.value, value_of(move)});
    }
    return out;
  }

  std::string value_of(const Move& move) const {
    if (move.number) return fmt::format("{:.6g}", move.value);
    const std::string& value =
        run_.pipeline.columns.categories()[move.feature].values[static_cast<size_t>(move.id) - 1];
    return value.empty() ? "missing" : value;
  }

  const run::RowRun& run_;
  infer::RowPredictor& predictor_;
  const ExplainedRow& row_;
  const CounterfactualOptions& options_;
  std::vector<float> before_;
  size_t present_ = 0, wanted_ = 0;
  uint64_t asked_ = 0;
};

}  // namespace

Counterfactual find_counterfactual(const run::RowRun& run, infer::RowPredictor& predictor,
                                   const ExplainedRow& row, const CounterfactualOptions& options) {
  if (run.pipeline.task != "classify") {
    throw UsageError("no_decision",
                     "a counterfactual changes a decision, and this run predicts a "
                     "number",
                     "leave --counterfactual out");
  }
  const std::vector<std::string> known = run.pipeline.columns.columns();
  for (const std::string& column : options.permitted) {
    if (std::ranges::find(known, column) != known.end()) continue;
    const auto near = nearest(column, known);
    throw UsageError("unknown_column", fmt::format("the model reads no column '{}'", column),
                     near ? fmt::format("did you mean '{}'?", *near)
                          : fmt::format("it reads {}", fmt::join(known, ", ")));
  }
  return Search(run, predictor, row, options).find();
}

}  // namespace quern::explain
