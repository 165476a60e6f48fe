#include "quern/train/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numeric>

#include "quern/base/error.h"
#include "quern/kernels/cpu/elementwise.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/train/gpu_exchange.h"

namespace quern::train {
namespace {

graph::Plan make_plan(const task::Problem& problem, const graph::ParameterStore& store,
                      task::Use use, int64_t rows, graph::Recompute recompute) {
  graph::Graph graph = problem.trace(use, rows, store);
  graph::PlanOptions options;
  options.backward = use == task::Use::kTrain;
  if (options.backward && recompute != graph::Recompute{})
    options.recompute = graph::recompute_flags(graph, recompute);
  options.stochastic_rounding = options.backward && store.rounds_stochastically();
  return graph::Plan(std::move(graph), options);
}

DeviceKind device_of(const EngineOptions& options) {
  return options.gpu == nullptr ? DeviceKind::kCpu : DeviceKind::kCuda;
}

/// Rows of the evaluation plan: the same for any number of ranks, so that a score has the same
/// bits.
int64_t evaluation_rows(const EngineOptions& options) { return options.batch / options.accumulate; }

/// Partial sums that wait while the leaves of a rank are added in a pairwise tree.
size_t tree_levels(const EngineOptions& options, const Leaves& leaves) {
  return options.exact ? static_cast<size_t>(std::countr_zero(static_cast<uint64_t>(leaves.each)))
                       : 0;
}

/// Whether the norm is added up by units, which one optimizer alone need not.
bool norm_by_units(const EngineOptions& options, const Shards& shards) {
  return options.exact || shards.ranks() > 1;
}

OptimizerShare share_of(const EngineOptions& options, const Shards& shards, int rank) {
  return {shards.owned(rank), norm_by_units(options, shards)};
}

/// Between the ranks; null for one.
std::unique_ptr<GradientExchange> make_exchange(const EngineOptions& options, Ranks& ranks,
                                                const Shards& shards,
                                                const graph::ParameterStore& parameters,
                                                const graph::Executor& train) {
  if (ranks.size() == 1) return nullptr;
  const std::vector<int32_t> whole_after = train.last_gradient_steps();
  if (options.gpu == nullptr)
    return std::make_unique<HostExchange>(ranks, shards, parameters.gradients(), whole_after);
  if (ranks.gpus() == nullptr) {
    throw Error("internal", "several ranks train on GPUs that were not joined",
                "call Ranks::join_gpus() first");
  }
  return std::make_unique<GpuExchange>(*ranks.gpus(), shards, parameters.gradients(), whole_after,
                                       GpuExchange::Options{.exact = options.exact});
}

size_t exchange_bytes(const EngineOptions& options, int ranks, size_t arena) {
  return options.gpu == nullptr ? HostExchange::planned_bytes(ranks)
                                : GpuExchange::planned_bytes(ranks, arena, {options.exact});
}

graph::ParameterStore make_store(const task::Problem& problem, const EngineOptions& options,
                                 const Ranks& ranks) {
  if (options.gpu != nullptr) {
    options.gpu->require_memory(memory_need(problem, options, ranks.rank(), ranks.size()).total(),
                                "training");
  }
  graph::ParameterStore store;
  store.use(options.gpu);
  problem.declare(store);
  store.allocate();
  store.allocate_gradients();
  problem.initialise(store, options.seed);
  return store;
}

/// Memory may differ between machines, but all must run the same plan: what the scarcest needs.
EngineOptions agreed(EngineOptions options, Ranks& ranks) {
  const auto most = [&](int32_t layers) {
    const std::vector<double> all = ranks.from_all(layers);
    return static_cast<int32_t>(*std::max_element(all.begin(), all.end()));
  };
  options.recompute.light = most(options.recompute.light);
  options.recompute.full = most(options.recompute.full);
  return options;
}

std::unique_ptr<graph::Executor> make_executor(const task::Problem& problem, task::Use use,
                                               int64_t rows, graph::Recompute recompute,
                                               graph::ParameterStore& parameters,
                                               graph::StateStore& states, ThreadPool& pool) {
  return std::make_unique<graph::Executor>(make_plan(problem, parameters, use, rows, recompute),
                                           parameters, states, pool);
}

bool has_input(const graph::Executor& executor, std::string_view name) {
  const auto values = executor.plan().graph().values();
  return std::any_of(values.begin(), values.end(), [&](const graph::ValueInfo& value) {
    return value.kind == graph::ValueKind::kInput && value.name == name;
  });
}

}  // namespace

Leaves divide_step(const EngineOptions& options, int ranks) {
  if (options.batch % options.accumulate != 0) {
    throw UsageError("bad_value",
                     fmt::format("train.batch = {} cannot be run in train.accumulate = {} equal "
                                 "parts",
                                 options.batch, options.accumulate),
                     "make batch a multiple of accumulate");
  }
  Leaves leaves;
  if (options.exact) {
    constexpr int64_t kExactLeaves = 8;  // more would leave too few samples in each
    leaves.total = options.accumulate;
    while (leaves.total < options.accumulate * kExactLeaves &&
           options.batch % (2 * leaves.total) == 0) {
      leaves.total *= 2;
    }
    leaves.each = leaves.total / ranks;
    // A rank adds a whole subtree of the pairwise tree over all leaves.
    if (leaves.total % ranks != 0 || !std::has_single_bit(static_cast<uint64_t>(leaves.each))) {
      throw UsageError("bad_value",
                       fmt::format("train.batch = {} with --bit-exact is added up in {} leaves, "
                                   "which {} rank{} cannot share so that the sum is the same",
                                   options.batch, leaves.total, ranks, ranks == 1 ? "" : "s"),
                       fmt::format("start a power of two of ranks, and make train.batch a multiple "
                                   "of {}",
                                   options.accumulate * kExactLeaves));
    }
  } else {
    leaves.each = options.accumulate / std::gcd(options.accumulate, int64_t{ranks});
    leaves.total = leaves.each * ranks;
    if (options.batch % leaves.total != 0) {
      throw UsageError(
          "bad_value",
          fmt::format("train.batch = {} cannot be shared by {} ranks in {} equal parts each",
                      options.batch, ranks, leaves.each),
          fmt::format("make train.batch a multiple of {}", leaves.total));
    }
  }
  leaves.rows = options.batch / leaves.total;
  return leaves;
}

MemoryNeed memory_need(const task::Problem& problem, const EngineOptions& options, int rank,
                       int ranks) {
  const Leaves leaves = divide_step(options, ranks);
  graph::ParameterStore store;
  store.use(options.gpu);
  problem.declare(store);
  store.lay_out();
  const Shards shards(store, ranks, options.optimizer.muon);
  const Shards::Range owned = shards.owned(rank);
  const DeviceKind device = device_of(options);
  const auto bytes_of = [&](task::Use use, int64_t rows, graph::Recompute recompute) {
    return make_plan(problem, store, use, rows, recompute).bytes(device).total();
  };
  MemoryNeed need;
  need.activations = bytes_of(task::Use::kTrain, leaves.rows, options.recompute) +
                     bytes_of(task::Use::kEvaluate, evaluation_rows(options), {});
  const size_t arena = store.arena_floats() * sizeof(float);
  need.parameters = 2 * arena + store.copy_bytes();
  need.exchange =
      exchange_bytes(options, ranks, store.arena_floats()) + tree_levels(options, leaves) * arena;
  if (norm_by_units(options, shards))
    need.exchange += UnitSquares::planned_bytes(shards, rank, device);
  need.optimizer =
      Optimizer::planned_bytes(options.optimizer, share_of(options, shards, rank), store, device);
  // The best so far is the host's.
  if (device == DeviceKind::kCpu) need.parameters += (owned.end - owned.begin) * sizeof(float);
  return need;
}

MemoryNeed fit_memory(const task::Problem& problem, EngineOptions& options, size_t budget, int rank,
                      int ranks) {
  const auto need_with = [&](graph::Recompute recompute) {
    options.recompute = recompute;
    return memory_need(problem, options, rank, ranks);
  };
  const MemoryNeed plain = need_with({});
  if (plain.total() <= budget) return plain;
  graph::ParameterStore store;
  store.use(options.gpu);
  problem.declare(store);
  const int32_t layers =
      graph::layer_count(problem.trace(task::Use::kTrain, divide_step(options, ranks).rows, store));
  // Norms and gated units cost next to nothing, so they go before a product does.
  const bool light_helps = need_with({layers, 0}).total() < plain.total();
  const auto fewest = [&](const std::function<graph::Recompute(int32_t)>& of_layers) {
    int32_t low = 0;  // does not fit
    int32_t high = layers;
    while (high - low > 1) {
      const int32_t middle = (low + high) / 2;
      (need_with(of_layers(middle)).total() <= budget ? high : low) = middle;
    }
    return need_with(of_layers(high));
  };
  if (light_helps && need_with({layers, 0}).total() <= budget)
    return fewest([](int32_t count) { return graph::Recompute{count, 0}; });
  return fewest([&](int32_t count) { return graph::Recompute{light_helps ? layers : 0, count}; });
}

Engine::Engine(task::Problem& problem, const EngineOptions& options, ThreadPool& pool, Ranks& ranks)
    : problem_(problem),
      options_(agreed(options, ranks)),
      ranks_(ranks),
      leaves_(divide_step(options, ranks.size())),
      targets_per_step_(problem.training_targets(0, options.batch)),
      parameters_(make_store(problem, options_, ranks)),
      train_(make_executor(problem, task::Use::kTrain, leaves_.rows, options_.recompute,
                           parameters_, states_, pool)),
      evaluate_(make_executor(problem, task::Use::kEvaluate, evaluation_rows(options), {},
                              parameters_, states_, pool)),
      shards_(parameters_, ranks.size(), options.optimizer.muon),
      optimizer_(options.optimizer, share_of(options, shards_, ranks.rank()), parameters_, pool),
      pool_(pool),
      best_(owned_values().size_bytes()) {
  std::copy(owned_values().begin(), owned_values().end(), best().begin());
  Device* device = options_.gpu == nullptr ? nullptr : &options_.gpu->driver();
  for (size_t i = 0; i < tree_levels(options_, leaves_); ++i)
    partial_sums_.emplace_back(parameters_.gradients().size_bytes(), device, Memory::kDevice);
  if (norm_by_units(options_, shards_)) squares_.emplace(shards_, ranks.rank(), parameters_, pool_);
  exchange_ = make_exchange(options_, ranks_, shards_, parameters_, *train_);
}

std::span<float> Engine::owned_values() const {
  const Shards::Range owned = shards_.owned(ranks_.rank());
  return parameters_.values().subspan(owned.begin, owned.end - owned.begin);
}

std::span<float> Engine::best() const {
  return {reinterpret_cast<float*>(best_.data()), best_.size() / sizeof(float)};
}

/// Unless the samples from `first` on were filled in while the last leaf was computed.
void Engine::fill_leaf(uint64_t first) {
  if (filled_ahead_ != first) problem_.fill_training(first, *train_);
  filled_ahead_.reset();
}

/// What random numbers of a leaf follow from.
void Engine::draw(int64_t leaf, int64_t step) {
  if (!has_input(*train_, "random")) return;
  uint32_t* words = train_->input("random").u32();
  words[0] = static_cast<uint32_t>(options_.seed);
  words[1] = static_cast<uint32_t>(options_.seed >> 32);
  words[2] = static_cast<uint32_t>(step);
  words[3] = static_cast<uint32_t>(leaf * leaves_.rows);
}

/// The first sample that this rank computes after a leaf: of this step, or of the one after it.
uint64_t Engine::sample_after(int64_t leaf, uint64_t first_sample) const {
  const bool last = leaf % leaves_.each == leaves_.each - 1;
  const int64_t rows = last ? options_.batch + ranks_.rank() * leaves_.each * leaves_.rows
                            : (leaf + 1) * leaves_.rows;
  return first_sample + static_cast<uint64_t>(rows);
}

/// Forward and backward of one leaf; returns the sum of its losses.
double Engine::run_leaf(int64_t leaf, uint64_t first_sample, int64_t step) {
  const int64_t place = leaf % leaves_.each;  // among those of this rank
  fill_leaf(first_sample + static_cast<uint64_t>(leaf * leaves_.rows));
  draw(leaf, step);
  const bool accumulate = !options_.exact && place > 0;
  // The last leaf makes gradients whole one by one; where leaves are added in a tree, only at the
  // end.
  const bool exchanged = exchange_ && place == leaves_.each - 1 && partial_sums_.empty();
  if (exchanged) {
    exchange_->begin();
    train_->start(accumulate, [&](int32_t queued) { exchange_->advance(queued); });
  } else {
    train_->start(accumulate);
  }
  if (options_.gpu != nullptr) {  // which computes meanwhile
    filled_ahead_ = sample_after(leaf, first_sample);
    problem_.fill_training(*filled_ahead_, *train_);
  }
  if (exchanged) exchange_->finish();
  train_->finish();
  double sum = 0;
  for (const float loss : train_->output("nll").f32_span()) sum += static_cast<double>(loss);
  return sum;
}

/// Carries as a binary counter does: leaf 5 (101) waits as a sum of one beside a sum of four.
void Engine::keep_partial_sum(int64_t leaf) {
  const std::span<float> gradients = parameters_.gradients();
  const auto place = static_cast<uint64_t>(leaf % leaves_.each);
  for (size_t level = 0; level < partial_sums_.size(); ++level) {
    auto* waiting = reinterpret_cast<float*>(partial_sums_[level].data());
    const auto count = static_cast<int64_t>(gradients.size());
    const bool waits = (place >> level & 1U) == 0;
    if (options_.gpu != nullptr) {
      const kernels::cuda::Context& context = options_.gpu->context();
      kernels::cuda::scale(context, waits ? gradients.data() : waiting, count, 1,
                           waits ? waiting : gradients.data(), !waits);
    } else if (waits) {
      std::copy(gradients.begin(), gradients.end(), waiting);
    } else {
      kernels::cpu::scale({pool_}, waiting, count, 1, gradients.data(), true);
    }
    if (waits) return;
  }
}

double Engine::run_step(uint64_t first_sample, int64_t step) {
  const auto targets = static_cast<double>(
      std::max<int64_t>(1, problem_.training_targets(first_sample, options_.batch)));
  *train_->input("loss_weight").f32() = static_cast<float>(1.0 / targets);
  std::vector<double> losses(static_cast<size_t>(leaves_.total));
  const int64_t first_leaf = ranks_.rank() * leaves_.each;
  for (int64_t leaf = first_leaf; leaf < first_leaf + leaves_.each; ++leaf) {
    losses[static_cast<size_t>(leaf)] = run_leaf(leaf, first_sample, step);
    keep_partial_sum(leaf);
  }
  if (exchange_ && !partial_sums_.empty()) {
    exchange_->begin();
    exchange_->advance(GradientExchange::kAllSteps);
    exchange_->finish();
  }
  ranks_.sum(losses);
  return std::accumulate(losses.begin(), losses.end(), 0.0) / targets;
}

/// Of the whole gradient, each rank squaring what it owns; the same bits for any number of ranks.
float Engine::norm_of_all() const {
  std::vector<double> squares = squares_->measure();
  ranks_.sum(squares);
  return static_cast<float>(std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0)));
}

void Engine::share_values() {
  if (exchange_) exchange_->share(parameters_.values());
}

double Engine::step(int64_t step, double learning_rate) {
  const double loss =
      run_step(static_cast<uint64_t>(step) * static_cast<uint64_t>(options_.batch), step);
  optimizer_.step(step, learning_rate, squares_ ? norm_of_all() : 0);
  share_values();
  return loss;
}

void Engine::rehearse() {
  // Other samples each time, as in training: a GPU finds them filled in already.
  run_step(static_cast<uint64_t>(rehearsals_++) * static_cast<uint64_t>(options_.batch), 0);
}

/// The averaged weights for the present ones, or back.
void Engine::swap_average() {
  if (!optimizer_.averages()) return;
  optimizer_.swap_average();
  share_values();
}

Evaluation Engine::evaluate(task::Part part, uint64_t limit) {
  const uint64_t count = problem_.evaluation_samples(part);
  const uint64_t stride = limit > 0 && count > limit ? count / limit : 1;
  const auto rows = static_cast<uint64_t>(evaluation_rows(options_)) * stride;
  if (has_input(*evaluate_, "loss_weight")) *evaluate_->input("loss_weight").f32() = 0;
  swap_average();
  problem_.begin_evaluation(part);
  std::vector<double> losses((count + rows - 1) / rows), targets(losses.size());
  for (size_t i = static_cast<size_t>(ranks_.rank()); i < losses.size();
       i += static_cast<size_t>(ranks_.size())) {
    targets[i] = static_cast<double>(problem_.fill_evaluation(part, i * rows, stride, *evaluate_));
    evaluate_->run();
    losses[i] = problem_.evaluation_loss(*evaluate_);
  }
  swap_average();
  ranks_.sum(losses);
  ranks_.sum(targets);
  if (ranks_.size() > 1)
    problem_.share_evaluation([&](std::span<double> values) { ranks_.sum(values); });
  Evaluation result;
  result.targets = static_cast<int64_t>(std::accumulate(targets.begin(), targets.end(), 0.0));
  result.whole = stride == 1;
  const double sum = std::accumulate(losses.begin(), losses.end(), 0.0);
  result.loss = result.targets > 0 ? sum / static_cast<double>(result.targets) : 0;
  return result;
}

void Engine::keep_best() {
  if (optimizer_.averages()) optimizer_.swap_average();
  const std::span<float> values = owned_values();
  std::copy(values.begin(), values.end(), best().begin());
  if (optimizer_.averages()) optimizer_.swap_average();
}

void Engine::restore_best() {
  std::copy(best().begin(), best().end(), owned_values().begin());
  share_values();
  if (optimizer_.averages()) optimizer_.reset_average();
}

void Engine::take_values(const graph::ParameterStore& trained) {
  std::copy(trained.values().begin(), trained.values().end(), parameters_.values().begin());
  if (optimizer_.averages()) optimizer_.reset_average();
}

std::vector<NamedTensor> Engine::tensors() {
  std::vector<NamedTensor> tensors;
  const Shards::Range owned = shards_.owned(ranks_.rank());
  const auto infos = parameters_.parameters();
  for (size_t i = 0; i < infos.size(); ++i) {
    const auto& info = infos[i];
    tensors.push_back(
        {"model." + info.name, info.shape, parameters_.value(static_cast<int32_t>(i)).f32_span()});
    const auto count = static_cast<size_t>(info.shape.elements());
    const Shards::Range piece = common({info.offset, info.offset + count}, owned);
    const bool any = piece.end > piece.begin;
    tensors.push_back({"best." + info.name, info.shape,
                       any ? best().subspan(piece.begin - owned.begin, piece.end - piece.begin)
                           : std::span<float>(),
                       any ? piece.begin - info.offset : 0});
  }
  for (const Optimizer::State& state : optimizer_.states()) {
    tensors.push_back({"optimizer." + state.name, Shape{static_cast<int64_t>(state.count)},
                       state.values, state.begin});
  }
  return tensors;
}

double Engine::steps_per_epoch() const {
  return static_cast<double>(problem_.samples()) / static_cast<double>(options_.batch);
}

double Engine::flops_per_step() const {
  return train_->plan().flops() * static_cast<double>(leaves_.each);
}

size_t Engine::planned_bytes() const {
  return memory_need(problem_, options_, ranks_.rank(), ranks_.size()).total();
}

size_t Engine::allocated_bytes() const {
  size_t bytes = parameters_.allocated_bytes() + train_->allocated_bytes() +
                 evaluate_->allocated_bytes() + optimizer_.allocated_bytes();
  for (const Buffer& waiting : partial_sums_) bytes += waiting.size();
  if (squares_) bytes += squares_->allocated_bytes();
  if (exchange_) bytes += exchange_->allocated_bytes();
  return options_.gpu == nullptr ? bytes + best_.size() : bytes;
}

}  // namespace quern::train
