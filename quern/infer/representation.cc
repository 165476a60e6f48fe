#include "quern/infer/representation.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "quern/graph/plan.h"
#include "quern/model/encoder_representation.h"

namespace quern::infer {
namespace {

constexpr int64_t kMostRows = 128;  // at a time

}  // namespace

size_t representation_width(const model::EncoderConfig& config) {
  return static_cast<size_t>(config.copies * config.head_inputs());
}

std::vector<float> represent(const model::EncoderConfig& config, graph::ParameterStore& parameters,
                             const task::RowInputs& rows, ThreadPool& pool) {
  model::EncoderConfig headless = config;
  headless.linear = false;  // it is added behind the head
  const int64_t batch = std::clamp<int64_t>(rows.rows(), 1, kMostRows);
  graph::StateStore states;
  graph::Executor executor(
      graph::Plan(model::trace_representation(headless, parameters, batch), {}), parameters, states,
      pool);
  const size_t width = representation_width(config);
  const auto each = static_cast<size_t>(config.head_inputs());
  std::vector<float> represented(static_cast<size_t>(rows.rows()) * width);
  std::vector<int64_t> indices;
  for (int64_t first = 0; first < rows.rows(); first += batch) {
    const int64_t count = std::min(rows.rows() - first, batch);
    indices.assign(static_cast<size_t>(batch), -1);
    std::iota(indices.begin(), indices.begin() + count, first);
    task::fill_rows(headless, rows, indices, executor, nullptr, 0, &pool);
    executor.run();
    for (int64_t copy = 0; copy < config.copies; ++copy) {
      const std::span<const float> seen =
          executor.output(config.copy_prefix(copy) + "row").f32_span();
      for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        const size_t at =
            (static_cast<size_t>(first) + i) * width + static_cast<size_t>(copy) * each;
        std::ranges::copy(seen.subspan(i * each, each),
                          represented.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
  }
  return represented;
}

}  // namespace quern::infer
