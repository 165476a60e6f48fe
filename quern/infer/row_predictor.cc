#include "quern/infer/row_predictor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace quern::infer {
namespace {

/// Rows of a plan: few sizes, so that few plans are made, and little of a batch is padding.
constexpr std::array<int64_t, 4> kBatches = {1, 8, 32, 128};
constexpr size_t kPlanBytes = size_t{1} << 30;

int64_t batch_for(int64_t rows) {
  const auto found = std::lower_bound(kBatches.begin(), kBatches.end(), rows);
  return found == kBatches.end() ? kBatches.back() : *found;
}

}  // namespace

RowPredictor::RowPredictor(const model::EncoderConfig& config, graph::ParameterStore& parameters,
                           ThreadPool& pool)
    : config_(config), parameters_(parameters), pool_(pool), plans_(kPlanBytes) {}

graph::Executor& RowPredictor::executor_for(int64_t batch) {
  const auto make = [&] {
    return graph::Executor(
        graph::Plan(model::trace_encoder(config_, parameters_, {.batch = batch}), {}), parameters_,
        states_, pool_);
  };
  return plans_.get({.batch = batch}, make);
}

std::vector<float> RowPredictor::predict(const task::RowInputs& rows, double temperature) {
  std::vector<float> answers(static_cast<size_t>(rows.rows() * config_.outputs));
  std::vector<int64_t> indices;
  for (int64_t first = 0; first < rows.rows();) {
    const int64_t left = rows.rows() - first;
    const int64_t batch = batch_for(left);
    const int64_t count = std::min(left, batch);
    graph::Executor& executor = executor_for(batch);
    indices.assign(static_cast<size_t>(batch), -1);
    std::iota(indices.begin(), indices.begin() + count, first);
    task::fill_rows(config_, rows, indices, executor, nullptr, 0, &pool_);
    executor.run();
    task::average_members(config_, executor.output("logits").f32_span(), count,
                          answers.data() + first * config_.outputs);
    first += count;
  }
  if (config_.answer == model::Answer::kClass) {
    apply_temperature(answers, config_.outputs, temperature);
  }
  return answers;
}

void apply_temperature(std::span<float> probabilities, int64_t classes, double temperature) {
  if (temperature == 1) return;
  const auto width = static_cast<size_t>(classes);
  for (size_t begin = 0; begin + width <= probabilities.size(); begin += width) {
    const auto row = probabilities.subspan(begin, width);
    double sum = 0;
    std::vector<double> powers(width);
    for (size_t i = 0; i < width; ++i) {
      powers[i] = std::pow(std::max(static_cast<double>(row[i]), 1e-30), 1 / temperature);
      sum += powers[i];
    }
    for (size_t i = 0; i < width; ++i) row[i] = static_cast<float>(powers[i] / sum);
  }
}

}  // namespace quern::infer
