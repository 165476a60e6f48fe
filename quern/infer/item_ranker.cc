#include "quern/infer/item_ranker.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quern/base/error.h"
#include "quern/model/decoder.h"

namespace quern::infer {
namespace {

/// Scores of so many histories' next item.
graph::Plan plan(const model::ModelConfig& config, const graph::ParameterStore& parameters,
                 std::span<const int32_t> side, int64_t batch) {
  model::TraceOptions options;
  options.use = model::TraceOptions::Use::kDecode;
  options.batch = batch;
  options.length = config.context;
  options.side = side;
  return {model::trace(config, parameters, options), {}};
}

}  // namespace

ItemRanker::ItemRanker(const model::ModelConfig& config, graph::ParameterStore& parameters,
                       std::span<const uint64_t> counts, std::span<const int32_t> side,
                       ThreadPool& pool)
    : config_(config),
      counts_(counts),
      side_(side),
      one_(make(1, parameters, pool)),
      many_(make(kBatch, parameters, pool)) {}

std::unique_ptr<ItemRanker::Step> ItemRanker::make(int64_t batch, graph::ParameterStore& parameters,
                                                   ThreadPool& pool) {
  auto step = std::make_unique<Step>();
  step->executor = std::make_unique<graph::Executor>(plan(config_, parameters, side_, batch),
                                                     parameters, step->states, pool);
  return step;
}

size_t ItemRanker::bytes(const model::ModelConfig& config, std::span<const int32_t> side) {
  graph::ParameterStore parameters;
  model::declare_parameters(config, parameters);
  parameters.lay_out();
  size_t bytes = 0;
  for (const int64_t batch : {int64_t{1}, kBatch}) {
    const graph::Plan step = plan(config, parameters, side, batch);
    bytes += step.bytes().total();
    for (const graph::ValueInfo& value : step.graph().values())
      if (value.kind == graph::ValueKind::kState) bytes += value.type.bytes();
  }
  return bytes;
}

void ItemRanker::rank(std::span<const std::vector<uint32_t>> histories,
                      const std::function<void(size_t, std::span<float>)>& take) {
  std::vector<float> scores(counts_.size() + 1);
  for (size_t first = 0; first < histories.size();) {
    const size_t left = histories.size() - first;
    graph::Executor& executor = *(left == 1 ? one_ : many_)->executor;
    const size_t count = std::min(left, static_cast<size_t>(left == 1 ? 1 : kBatch));
    const int64_t batch = executor.input("ids").shape()[0];
    for (int64_t row = 0; row < batch; ++row) {
      int32_t* ids = executor.input("ids").i32() + row * config_.context;
      std::fill_n(ids, config_.context, 0);
      size_t used = 0;
      if (static_cast<size_t>(row) < count) {
        const std::vector<uint32_t>& history = histories[first + static_cast<size_t>(row)];
        used = std::min(history.size(), static_cast<size_t>(config_.context));
        std::copy(history.end() - static_cast<std::ptrdiff_t>(used), history.end(), ids);
      }
      executor.input("offsets").i32()[row] = 0;
      executor.input("lengths").i32()[row] = static_cast<int32_t>(config_.context);
      executor.input("rows").i32()[row] = static_cast<int32_t>(used > 0 ? used - 1 : 0);
    }
    executor.run();
    const std::span<const float> logits = executor.output("logits").f32_span();
    for (size_t i = 0; i < count; ++i) {
      if (histories[first + i].empty()) {
        for (size_t item = 1; item < scores.size(); ++item)
          scores[item] = std::log(std::max(static_cast<float>(counts_[item - 1]), 0.5F));
        take(first + i, scores);
        continue;
      }
      std::copy_n(logits.begin() + static_cast<std::ptrdiff_t>(i * scores.size()), scores.size(),
                  scores.begin());
      take(first + i, scores);
    }
    first += count;
  }
}

namespace {

/// All of a parameter, in float32.
std::vector<float> floats_of(const graph::ParameterStore& parameters, std::string_view name) {
  const int32_t index = parameters.find(name);
  std::vector<float> values(static_cast<size_t>(parameters.value(index).elements()));
  parameters.read(index, 0, values);
  return values;
}

}  // namespace

std::vector<float> item_rows(const model::ModelConfig& config,
                             const graph::ParameterStore& parameters,
                             std::span<const int32_t> side) {
  std::vector<float> rows = floats_of(parameters, "embed.weight");
  if (config.side_slots == 0) return rows;
  const auto width = static_cast<size_t>(config.width);
  const auto slots = static_cast<size_t>(config.side_slots);
  const std::vector<float> table = floats_of(parameters, "embed.side");
  rows.resize(side.size() / slots * width);
  for (size_t i = 0; i < side.size(); ++i) {
    if (side[i] < 0) continue;
    const float* from = table.data() + static_cast<size_t>(side[i]) * width;
    for (size_t c = 0; c < width; ++c) rows[i / slots * width + c] += from[c];
  }
  return rows;
}

std::vector<float> similar_items(const model::ModelConfig& config,
                                 const graph::ParameterStore& parameters,
                                 std::span<const int32_t> side, uint32_t item) {
  const std::vector<float> values = item_rows(config, parameters, side);
  const auto width = static_cast<size_t>(config.width);
  const size_t rows = values.size() / width;
  const auto product = [&](size_t a, size_t b) {
    double sum = 0;
    for (size_t i = 0; i < width; ++i)
      sum +=
          static_cast<double>(values[a * width + i]) * static_cast<double>(values[b * width + i]);
    return sum;
  };
  std::vector<float> scores(rows, -std::numeric_limits<float>::infinity());
  for (size_t other = 1; other < rows; ++other) {
    if (other == item) continue;
    const double lengths = std::sqrt(product(item, item) * product(other, other));
    scores[other] = lengths > 0 ? static_cast<float>(product(item, other) / lengths) : 0.0F;
  }
  return scores;
}

}  // namespace quern::infer
