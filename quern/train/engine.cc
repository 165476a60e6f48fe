#include "quern/train/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/base/error.h"

namespace quern::train {
namespace {

graph::Plan make_plan(const task::Problem& problem, const graph::ParameterStore& store,
                      task::Use use, int64_t rows) {
  graph::PlanOptions options;
  options.backward = use == task::Use::kTrain;
  return graph::Plan(problem.trace(use, rows, store), options);
}

DeviceKind device_of(const EngineOptions& options) {
  return options.gpu == nullptr ? DeviceKind::kCpu : DeviceKind::kCuda;
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

graph::ParameterStore make_store(const task::Problem& problem, const EngineOptions& options) {
  if (options.gpu != nullptr)
    options.gpu->require_memory(memory_need(problem, options).total(), "training");
  graph::ParameterStore store;
  store.use(options.gpu);
  problem.declare(store);
  store.allocate();
  store.allocate_gradients();
  problem.initialise(store, options.seed);
  return store;
}

std::unique_ptr<graph::Executor> make_executor(const task::Problem& problem, task::Use use,
                                               int64_t rows, graph::ParameterStore& parameters,
                                               graph::StateStore& states, ThreadPool& pool) {
  return std::make_unique<graph::Executor>(make_plan(problem, parameters, use, rows), parameters,
                                           states, pool);
}

bool has_input(const graph::Executor& executor, std::string_view name) {
  const auto values = executor.plan().graph().values();
  return std::any_of(values.begin(), values.end(), [&](const graph::ValueInfo& value) {
    return value.kind == graph::ValueKind::kInput && value.name == name;
  });
}

}  // namespace

MemoryNeed memory_need(const task::Problem& problem, const EngineOptions& options) {
  graph::ParameterStore store;
  problem.declare(store);
  MemoryNeed need;
  const int64_t rows = rows_of(options);
  const DeviceKind device = device_of(options);
  need.activations = make_plan(problem, store, task::Use::kTrain, rows).bytes(device).total() +
                     make_plan(problem, store, task::Use::kEvaluate, rows).bytes(device).total();
  need.parameters = store.arena_floats() * sizeof(float) * 3;
  need.optimizer = Optimizer::planned_bytes(options.optimizer, store, device);
  return need;
}

Engine::Engine(task::Problem& problem, const EngineOptions& options, ThreadPool& pool)
    : problem_(problem),
      options_(options),
      targets_per_step_(problem.training_targets(0, options.batch)),
      parameters_(make_store(problem, options)),
      train_(
          make_executor(problem, task::Use::kTrain, rows_of(options), parameters_, states_, pool)),
      evaluate_(make_executor(problem, task::Use::kEvaluate, rows_of(options), parameters_, states_,
                              pool)),
      optimizer_(options.optimizer, parameters_, pool),
      best_(parameters_.values().begin(), parameters_.values().end()) {}

void Engine::fill_part(uint64_t first_sample, int64_t part) {
  const int64_t rows = options_.batch / options_.accumulate;
  const uint64_t first = first_sample + static_cast<uint64_t>(part * rows);
  if (filled_ != static_cast<int64_t>(first)) problem_.fill_training(first, *train_);
  filled_ = static_cast<int64_t>(first);
}

double Engine::run_step(uint64_t first_sample, int64_t step) {
  const int64_t rows = options_.batch / options_.accumulate;
  const auto targets = static_cast<double>(
      std::max<int64_t>(1, problem_.training_targets(first_sample, options_.batch)));
  const bool random = has_input(*train_, "random");
  double sum = 0;
  for (int64_t part = 0; part < options_.accumulate; ++part) {
    fill_part(first_sample, part);
    *train_->input("loss_weight").f32() = static_cast<float>(1.0 / targets);
    if (random) {
      uint32_t* words = train_->input("random").u32();
      words[0] = static_cast<uint32_t>(options_.seed);
      words[1] = static_cast<uint32_t>(options_.seed >> 32);
      words[2] = static_cast<uint32_t>(step);
      words[3] = static_cast<uint32_t>(part * rows);
    }
    train_->start(part > 0);
    // While a GPU computes, the next samples are made ready: of this step, or of the one after it.
    if (options_.gpu != nullptr) fill_part(first_sample, part + 1);
    train_->finish();
    for (const float loss : train_->output("nll").f32_span()) sum += static_cast<double>(loss);
  }
  return sum / targets;
}

double Engine::step(int64_t step, double learning_rate) {
  const double loss =
      run_step(static_cast<uint64_t>(step) * static_cast<uint64_t>(options_.batch), step);
  optimizer_.step(step, learning_rate);
  return loss;
}

void Engine::rehearse() { run_step(0, 0); }

Evaluation Engine::evaluate(task::Part part, uint64_t limit) {
  const uint64_t count = problem_.evaluation_samples(part);
  const uint64_t stride = limit > 0 && count > limit ? count / limit : 1;
  const auto rows = static_cast<uint64_t>(options_.batch / options_.accumulate);
  if (has_input(*evaluate_, "loss_weight")) *evaluate_->input("loss_weight").f32() = 0;
  if (optimizer_.averages()) optimizer_.swap_average();
  Evaluation result;
  double sum = 0;
  for (uint64_t first = 0; first < count; first += rows * stride) {
    const int64_t counted = problem_.fill_evaluation(part, first, stride, *evaluate_);
    evaluate_->run();
    sum += problem_.evaluation_loss(*evaluate_);
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

double Engine::steps_per_epoch() const {
  return static_cast<double>(problem_.samples()) / static_cast<double>(options_.batch);
}

double Engine::flops_per_step() const {
  return train_->plan().flops() * static_cast<double>(options_.accumulate);
}

size_t Engine::planned_bytes() const {
  const size_t parameters = parameters_.arena_floats() * sizeof(float) * 2;
  const DeviceKind device = device_of(options_);
  return parameters + train_->plan().bytes(device).total() +
         evaluate_->plan().bytes(device).total() +
         Optimizer::planned_bytes(options_.optimizer, parameters_, device);
}

size_t Engine::allocated_bytes() const {
  return parameters_.allocated_bytes() + train_->allocated_bytes() + evaluate_->allocated_bytes() +
         optimizer_.allocated_bytes();
}

}  // namespace quern::train
