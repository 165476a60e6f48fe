#include "quern/infer/row_predictor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quern::infer {
namespace {

constexpr int64_t kBatch = 128;

}  // namespace

RowPredictor::RowPredictor(const model::EncoderConfig& config, graph::ParameterStore& parameters,
                           ThreadPool& pool)
    : config_(config) {
  const auto make = [&](int64_t batch) {
    return std::make_unique<graph::Executor>(
        graph::Plan(model::trace_encoder(config_, parameters, {.batch = batch}), {}), parameters,
        states_, pool);
  };
  one_ = make(1);
  many_ = make(kBatch);
}

std::vector<float> RowPredictor::predict(const task::RowInputs& rows, double temperature) {
  std::vector<float> answers(static_cast<size_t>(rows.rows() * config_.outputs));
  std::vector<int64_t> indices;
  for (int64_t first = 0; first < rows.rows();) {
    const int64_t left = rows.rows() - first;
    graph::Executor& executor = left == 1 ? *one_ : *many_;
    const int64_t batch = left == 1 ? 1 : kBatch;
    const int64_t count = std::min(left, batch);
    indices.assign(static_cast<size_t>(batch), -1);
    std::iota(indices.begin(), indices.begin() + count, first);
    task::fill_rows(config_, rows, indices, executor);
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

size_t RowPredictor::allocated_bytes() const {
  return one_->allocated_bytes() + many_->allocated_bytes();
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
