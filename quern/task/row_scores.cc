#include "quern/task/row_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quern/features/linear_features.h"

namespace quern::task {
namespace {

size_t outputs_of(const run::RowPipeline& pipeline) {
  return pipeline.task == "classify" ? pipeline.classes.size() : 1;
}

/// Shares of the classes, or the mean (0, standardised), for every row.
std::vector<float> constant_answers(const run::RowPipeline& pipeline, const RowTargets& targets,
                                    int64_t rows) {
  const size_t outputs = outputs_of(pipeline);
  std::vector<float> shares(outputs, 0.0F);
  for (const int32_t label : targets.classes)
    shares[static_cast<size_t>(label)] += 1.0F / static_cast<float>(targets.classes.size());
  std::vector<float> answers;
  for (int64_t row = 0; row < rows; ++row)
    answers.insert(answers.end(), shares.begin(), shares.end());
  return answers;
}

/// Squared distance: places scaled to [0, 1], missing apart from all by 1; categories 0 or 1.
float distance(const run::RowPipeline& pipeline, const features::EncodedRows& a, size_t row_a,
               const features::EncodedRows& b, size_t row_b) {
  const auto numbers = pipeline.columns.numbers();
  const size_t categories = pipeline.columns.categories().size();
  float sum = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float x = a.places[row_a * numbers.size() + i];
    const float y = b.places[row_b * numbers.size() + i];
    if (std::isnan(x) != std::isnan(y)) {
      sum += 1;
    } else if (!std::isnan(x)) {
      const float difference = (x - y) / static_cast<float>(numbers[i].pieces());
      sum += difference * difference;
    }
  }
  for (size_t i = 0; i < categories; ++i)
    sum += a.category_ids[row_a * categories + i] == b.category_ids[row_b * categories + i] ? 0.0F
                                                                                            : 0.5F;
  return sum;
}

std::vector<float> nearest_answers(const run::RowPipeline& pipeline,
                                   const features::EncodedRows& train, const RowTargets& targets,
                                   const features::EncodedRows& validation) {
  constexpr size_t kNeighbours = 15;
  constexpr size_t kMostRows = 5000;
  const auto rows = static_cast<size_t>(train.rows);
  const size_t stride = (rows + kMostRows - 1) / kMostRows;
  const size_t outputs = outputs_of(pipeline);
  std::vector<float> answers(static_cast<size_t>(validation.rows) * outputs, 0.0F);
  std::vector<std::pair<float, size_t>> near;
  for (size_t row = 0; row < static_cast<size_t>(validation.rows); ++row) {
    near.clear();
    for (size_t other = 0; other < rows; other += stride)
      near.emplace_back(distance(pipeline, validation, row, train, other), other);
    const size_t count = std::min(kNeighbours, near.size());
    std::partial_sort(near.begin(), near.begin() + static_cast<ptrdiff_t>(count), near.end());
    for (size_t i = 0; i < count; ++i) {
      const float share = 1.0F / static_cast<float>(count);
      if (pipeline.task == "classify") {
        answers[row * outputs + static_cast<size_t>(targets.classes[near[i].second])] += share;
      } else {
        answers[row] += share * targets.values[near[i].second];
      }
    }
  }
  return answers;
}

}  // namespace

metrics::Classified classified(const run::RowPipeline& pipeline, const RowAnswers& rows) {
  return {rows.answers, rows.targets.classes, pipeline.classes.size(), pipeline.positive,
          pipeline.threshold};
}

OwnUnits own_units(const run::RowPipeline& pipeline, const RowAnswers& rows) {
  OwnUnits units;
  const auto convert = [&](float value) {
    return pipeline.mean + pipeline.deviation * static_cast<double>(value);
  };
  std::transform(rows.answers.begin(), rows.answers.end(), std::back_inserter(units.predictions),
                 convert);
  std::transform(rows.targets.values.begin(), rows.targets.values.end(),
                 std::back_inserter(units.targets), convert);
  return units;
}

std::vector<metrics::Score> score_rows(const run::RowPipeline& pipeline, const RowAnswers& rows,
                                       uint64_t seed) {
  if (pipeline.task == "classify") return metrics::score_classes(classified(pipeline, rows), seed);
  const OwnUnits units = own_units(pipeline, rows);
  return metrics::score_values(units.view(), seed);
}

MainMetric main_metric(const run::RowPipeline& pipeline) {
  if (pipeline.task == "regress") return {"rmse", false};
  return {pipeline.classes.size() == 2 ? "auc" : "accuracy", true};
}

std::vector<Baseline> row_baselines(const run::RowPipeline& pipeline,
                                    const features::EncodedRows& train, const RowTargets& targets,
                                    const features::EncodedRows& validation) {
  std::vector<Baseline> baselines;
  const bool classify = pipeline.task == "classify";
  baselines.push_back(
      {classify ? "majority class" : "mean", constant_answers(pipeline, targets, validation.rows)});
  const auto features =
      features::LinearFeatures::fit(pipeline.columns, train.texts, features::LinearKind::kPlain);
  // Enough to say what a linear model can learn; pixels are dense.
  const bool pictures = !train.pixels.empty();
  const size_t most = pictures ? 10'000 : 200'000;
  const size_t stride = (static_cast<size_t>(train.rows) + most - 1) / most;
  std::vector<size_t> used;
  RowTargets learnt;
  for (size_t row = 0; row < static_cast<size_t>(train.rows); row += std::max<size_t>(stride, 1)) {
    used.push_back(row);
    if (classify) {
      learnt.classes.push_back(targets.classes[row]);
    } else {
      learnt.values.push_back(targets.values[row]);
    }
  }
  const features::SparseRows rows =
      features.rows(pipeline.columns, stride > 1 ? train.select(used) : train);
  const auto linear =
      classify ? metrics::LinearBaseline::classifier(rows, learnt.classes, pipeline.classes.size())
               : metrics::LinearBaseline::regression(rows, learnt.values);
  const char* name =
      !train.texts.empty()
          ? (classify ? "logistic regression on words" : "linear regression on words")
      : pictures ? (classify ? "logistic regression on pixels" : "linear regression on pixels")
      : classify ? "logistic regression"
                 : "linear regression";
  baselines.push_back({name, linear.predict(features.rows(pipeline.columns, validation))});
  if (train.numbers + train.categories > 0) {
    baselines.push_back({"15 nearest rows", nearest_answers(pipeline, train, targets, validation)});
  }
  return baselines;
}

}  // namespace quern::task
