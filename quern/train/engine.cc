#include "quern/train/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/model/decoder.h"

namespace quern::train {
namespace {

using Use = model::TraceOptions::Use;

graph::Plan make_plan(const model::ModelConfig& config, const graph::ParameterStore& store, Use use,
                      int64_t batch) {
  model::TraceOptions trace;
  trace.use = use;
  trace.batch = batch;
  graph::PlanOptions options;
  options.backward = use == Use::kTrain;
  return graph::Plan(model::trace(config, store, trace), options);
}

int64_t rows_of(const EngineOptions& options) {
  if (options.batch % options.accumulate != 0) {
    throw UsageError("bad_value",
                     fmt::format("train.batch = {} cannot be run in train.accumulate = {} equal "
                                 "parts",
                                 options.batch, options.accumulate),
                     "make batch a multiple of accumulate");
  }
  return options.batch / options.accumulate;
}

graph::ParameterStore make_store(const model::ModelConfig& config, uint64_t seed) {
  config.validate();
  graph::ParameterStore store;
  model::declare_parameters(config, store);
  store.allocate();
  store.allocate_gradients();
  model::initialise(config, store, seed);
  return store;
}

std::unique_ptr<graph::Executor> make_executor(const model::ModelConfig& config, Use use,
                                               int64_t batch, graph::ParameterStore& parameters,
                                               graph::StateStore& states, ThreadPool& pool) {
  return std::make_unique<graph::Executor>(make_plan(config, parameters, use, batch), parameters,
                                           states, pool);
}

task::WindowBatch batch_of(const graph::Executor& executor, const model::ModelConfig& config) {
  task::WindowBatch batch;
  batch.ids = executor.input("ids");
  batch.targets = executor.input("targets");
  if (config.ngram_orders > 0) {
    batch.ngram_ids = executor.input("ngram_ids");
    batch.ngram_buckets = config.ngram_buckets;
  }
  return batch;
}

double sum_of(TensorView values) {
  double sum = 0;
  for (const float value : values.f32_span()) sum += static_cast<double>(value);
  return sum;
}

bool uses_random(const model::ModelConfig& config) {
  return config.dropout > 0 || config.attention_dropout > 0 || config.drop_path > 0;
}

}  // namespace

MemoryNeed memory_need(const model::ModelConfig& config, const EngineOptions& options) {
  config.validate();
  graph::ParameterStore store;
  model::declare_parameters(config, store);
  MemoryNeed need;
  const int64_t rows = rows_of(options);
  need.activations = make_plan(config, store, Use::kTrain, rows).bytes().total() +
                     make_plan(config, store, Use::kEvaluate, rows).bytes().total();
  need.parameters = store.arena_floats() * sizeof(float) * 3;
  need.optimizer = Optimizer::planned_bytes(options.optimizer, store);
  return need;
}

Engine::Engine(const model::ModelConfig& config, const EngineOptions& options,
               task::TokenStream train, ThreadPool& pool)
    : config_(config),
      options_(options),
      windows_(std::move(train), config.context, options.seed),
      parameters_(make_store(config, options.seed)),
      train_(make_executor(config_, Use::kTrain, rows_of(options), parameters_, states_, pool)),
      evaluate_(
          make_executor(config_, Use::kEvaluate, rows_of(options), parameters_, states_, pool)),
      optimizer_(options.optimizer, parameters_, pool),
      best_(parameters_.values().begin(), parameters_.values().end()) {}

double Engine::run_step(uint64_t first_sample, int64_t step) {
  const int64_t rows = options_.batch / options_.accumulate;
  const task::WindowBatch batch = batch_of(*train_, config_);
  *train_->input("loss_weight").f32() = 1.0F / static_cast<float>(targets_per_step());
  double sum = 0;
  for (int64_t part = 0; part < options_.accumulate; ++part) {
    const uint64_t first = first_sample + static_cast<uint64_t>(part * rows);
    windows_.fill(first, batch, {options_.token_dropout, config_.vocabulary});
    if (uses_random(config_)) {
      uint32_t* random = train_->input("random").u32();
      random[0] = static_cast<uint32_t>(options_.seed);
      random[1] = static_cast<uint32_t>(options_.seed >> 32);
      random[2] = static_cast<uint32_t>(step);
      random[3] = static_cast<uint32_t>(part * rows);
    }
    train_->run(part > 0);
    sum += sum_of(train_->output("nll"));
  }
  return sum / static_cast<double>(targets_per_step());
}

double Engine::step(int64_t step, double learning_rate) {
  const double loss =
      run_step(static_cast<uint64_t>(step) * static_cast<uint64_t>(options_.batch), step);
  optimizer_.step(step, learning_rate);
  return loss;
}

void Engine::rehearse() { run_step(0, 0); }

Evaluation Engine::evaluate(const task::TokenStream& stream, uint64_t limit) {
  task::EvaluationWindows windows(stream, config_.context);
  const uint64_t count = windows.windows();
  const uint64_t stride = limit > 0 && count > limit ? count / limit : 1;
  const uint64_t rows = static_cast<uint64_t>(options_.batch / options_.accumulate);
  const task::WindowBatch batch = batch_of(*evaluate_, config_);
  *evaluate_->input("loss_weight").f32() = 0;
  if (optimizer_.averages()) optimizer_.swap_average();
  Evaluation result;
  double sum = 0;
  for (uint64_t first = 0; first < count; first += rows * stride) {
    const int64_t counted = windows.fill(first, stride, batch);
    evaluate_->run();
    sum += sum_of(evaluate_->output("nll"));
    result.targets += counted;
  }
  if (optimizer_.averages()) optimizer_.swap_average();
  result.whole = stride == 1;
  result.loss = result.targets > 0 ? sum / static_cast<double>(result.targets) : 0;
  return result;
}

void Engine::keep_best() {
  if (optimizer_.averages()) optimizer_.swap_average();
  const std::span<float> values = parameters_.values();
  std::copy(values.begin(), values.end(), best_.begin());
  if (optimizer_.averages()) optimizer_.swap_average();
}

void Engine::restore_best() {
  std::copy(best_.begin(), best_.end(), parameters_.values().begin());
  if (optimizer_.averages()) optimizer_.reset_average();
}

std::vector<NamedTensor> Engine::tensors() {
  std::vector<NamedTensor> tensors;
  const auto infos = parameters_.parameters();
  for (size_t i = 0; i < infos.size(); ++i) {
    const auto& info = infos[i];
    tensors.push_back(
        {"model." + info.name, info.shape, parameters_.value(static_cast<int32_t>(i)).f32_span()});
    const auto count = static_cast<size_t>(info.shape.elements());
    tensors.push_back(
        {"best." + info.name, info.shape, std::span(best_).subspan(info.offset, count)});
  }
  for (const Optimizer::State& state : optimizer_.states()) {
    tensors.push_back({"optimizer." + state.name, Shape{static_cast<int64_t>(state.values.size())},
                       state.values});
  }
  return tensors;
}

int64_t Engine::targets_per_step() const { return options_.batch * windows_.targets_per_window(); }

double Engine::steps_per_epoch() const {
  return static_cast<double>(windows_.windows()) / static_cast<double>(options_.batch);
}

double Engine::flops_per_step() const {
  return train_->plan().flops() * static_cast<double>(options_.accumulate);
}

size_t Engine::planned_bytes() const {
  const size_t parameters = parameters_.arena_floats() * sizeof(float) * 2;
  return parameters + train_->plan().bytes().total() + evaluate_->plan().bytes().total() +
         Optimizer::planned_bytes(options_.optimizer, parameters_);
}

size_t Engine::allocated_bytes() const {
  return parameters_.allocated_bytes() + train_->allocated_bytes() + evaluate_->allocated_bytes() +
         optimizer_.allocated_bytes();
}

}  // namespace quern::train
