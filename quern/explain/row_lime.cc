#include "quern/explain/row_lime.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quern/base/error.h"
#include "quern/explain/lime.h"

namespace quern::explain {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

/// The number that stands at a place among knots.
double value_at(const features::NumberFeature& number, float place) {
  if (std::isnan(place)) return std::numeric_limits<double>::quiet_NaN();
  const auto last = static_cast<double>(number.pieces());
  const double at = std::clamp(static_cast<double>(place), 0.0, last);
  const auto knot = static_cast<size_t>(std::min(std::floor(at), std::max(last - 1, 0.0)));
  if (knot + 1 >= number.knots.size()) return number.knots[knot];
  return number.knots[knot] +
         (at - static_cast<double>(knot)) * (number.knots[knot + 1] - number.knots[knot]);
}

/// One column: what LIME draws for it, and how a draw becomes the model's input.
class VariedColumn {
 public:
  VariedColumn(const features::ColumnEncoder& encoder, const RowPart& part,
               const features::EncodedRows& own, const features::EncodedRows& background)
      : encoder_(encoder), part_(part), background_(background), feature_(feature_of()) {
    own_ = value_of(own, 0);
    for (int64_t row = 0; row < background.rows; ++row)
      values_.push_back(value_of(background, static_cast<size_t>(row)));
    lime_ = lime_column(values_, category());
  }

  double own() const { return own_; }
  const LimeColumn& lime() const { return lime_; }

  /// Writes a drawn value into row `row` of what is asked.
  void write(double value, features::EncodedRows& asked, size_t row) const {
    if (category()) {
      asked.category_ids[row * static_cast<size_t>(asked.categories) + feature_] =
          static_cast<int32_t>(value);
      return;
    }
    float* places = asked.places.data() + row * static_cast<size_t>(asked.numbers);
    if (part_.numbers.size() == 1) {
      places[feature_] = std::isnan(value) ? kMissing : encoder_.numbers()[feature_].place(value);
      return;
    }
    // The parts of a date hang together: those of the background row nearest in days.
    const size_t nearest = nearest_row(value);
    for (const size_t i : part_.numbers)
      places[i] = background_.places[nearest * static_cast<size_t>(background_.numbers) + i];
  }

 private:
  bool category() const { return part_.numbers.empty(); }

  size_t feature_of() const {
    if (category()) return part_.categories.front();
    const auto days = std::ranges::find_if(part_.numbers, [this](size_t i) {
      return encoder_.numbers()[i].source == features::NumberSource::kElapsedDays;
    });
    return days == part_.numbers.end() ? part_.numbers.front() : *days;
  }

  double value_of(const features::EncodedRows& rows, size_t row) const {
    if (category()) return rows.category_ids[row * static_cast<size_t>(rows.categories) + feature_];
    return value_at(encoder_.numbers()[feature_],
                    rows.places[row * static_cast<size_t>(rows.numbers) + feature_]);
  }

  size_t nearest_row(double value) const {
    const auto away = [&](double other) {
      if (std::isnan(value) || std::isnan(other))
        return std::isnan(value) && std::isnan(other) ? 0 : std::numeric_limits<double>::infinity();
      return std::abs(value - other);
    };
    return static_cast<size_t>(std::ranges::min_element(values_, {}, away) - values_.begin());
  }

  const features::ColumnEncoder& encoder_;
  const RowPart& part_;
  const features::EncodedRows& background_;
  size_t feature_;
  double own_ = 0;
  std::vector<double> values_;  // of the background
  LimeColumn lime_;
};

}  // namespace

std::string lime_columns_policy(const features::EncodedRows& background) {
  return fmt::format(
      "A number is drawn from a quartile of {} background rows, a category by its frequency there; "
      "a part counts as shown where the draw stays in its own quartile or category.",
      background.rows);
}

Attribution lime_columns(const run::RowRun& run, infer::RowPredictor& predictor,
                         const ExplainedRow& row, const features::EncodedRows& background,
                         RowTarget target, const EstimateOptions& options, uint64_t& answered) {
  if (run.config.has_text() || run.config.has_image()) {
    throw UsageError("other_method",
                     "--method lime: a row that holds a text or a picture beside its columns has "
                     "no one way of being varied",
                     "leave --method out, or name another");
  }
  std::vector<VariedColumn> columns;
  columns.reserve(row.parts.size());
  std::vector<LimeColumn> limes;
  std::vector<double> own;
  for (const RowPart& part : row.parts) {
    const VariedColumn& column =
        columns.emplace_back(run.pipeline.columns, part, row.inputs.columns, background);
    limes.push_back(column.lime());
    own.push_back(column.own());
  }
  bool first = true;
  const RowModel model = [&](std::span<const double> rows, std::span<double> answers) {
    task::RowInputs inputs = row.inputs.select(std::vector<size_t>(answers.size(), 0));
    for (size_t i = first ? 1 : 0; i < answers.size(); ++i) {  // the very first is the row itself
      for (size_t c = 0; c < columns.size(); ++c) {
        columns[c].write(rows[i * columns.size() + c], inputs.columns, i);
      }
    }
    first = false;
    inputs.linear = task::linear_scores(inputs.columns, run);
    const std::vector<float> found = predictor.predict_fixed(inputs, run.pipeline.temperature);
    const auto outputs = static_cast<size_t>(run.config.outputs);
    for (size_t i = 0; i < answers.size(); ++i)
      answers[i] = target.of(run.pipeline, std::span(found).subspan(i * outputs, outputs));
    answered += answers.size();
  };
  const LimeOptions asked = lime_options(options);
  Attribution result = lime_attribution(lime_row(model, own, limes, asked), asked);
  result.reason = "asked for";
  return result;
}

}  // namespace quern::explain
