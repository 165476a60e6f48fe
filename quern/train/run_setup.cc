#include "quern/train/run_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/kernels/cuda/gpu.h"

namespace quern::train {
namespace {

/// What may differ between a run and the run that goes on with it: nothing of these changes what a
/// step does.
constexpr std::array<std::string_view, 9> kFree = {"threads",
                                                   "device",
                                                   "memory",
                                                   "train.steps",
                                                   "train.epochs",
                                                   "train.time",
                                                   "train.patience",
                                                   "train.evaluate_every",
                                                   "train.checkpoint_every"};

bool is_free(std::string_view key) {
  return std::find(kFree.begin(), kFree.end(), key) != kFree.end();
}

/// The options of the run that is gone on with; what is said now must not contradict them.
run::Options resumed_options(const fs::path& folder, const run::Options& said) {
  run::Options options = run::options_of(folder);
  for (const run::OptionInfo& info : run::option_table()) {
    if (!said.is_explicit(info.key) || said.text(info.key) == options.text(info.key)) continue;
    if (!is_free(info.key)) {
      throw UsageError("other_options",
                       fmt::format("{} = {} ({}) contradicts the run in {}, which has {}", info.key,
                                   said.text(info.key), said.who(info.key), folder.string(),
                                   options.text(info.key)),
                       "leave it out, or train afresh with another --out");
    }
    options.set(info.key, said.text(info.key), run::Layer::kExplicit, said.who(info.key));
  }
  return options;
}

uint64_t memory_there_on(kernels::cuda::Gpu& gpu, uint64_t limit) {
  const uint64_t free = gpu.driver().free_bytes();
  return limit == 0 ? free : std::min(limit, free);
}

constexpr const char* kBegun = "begun";
constexpr const char* kFinished = "finished";

/// The root has decided the options and learned the tokenizer; the others take both from the
/// folder.
OpenedRun follow_root(const TrainRequest& request) {
  OpenedRun opened;
  opened.finished = request.ranks->from_root(std::string()) == kFinished;
  opened.going_on = true;
  if (!opened.finished) opened.options = resumed_options(request.run, request.options);
  return opened;
}

}  // namespace

OpenedRun open_run(const TrainRequest& request, std::string_view task, Reporter& reporter) {
  if (!request.ranks->root()) return follow_root(request);
  const fs::path& folder = request.run;
  OpenedRun opened;
  const bool exists = run::is_run_folder(folder);
  if (exists && request.resume) {
    if (is_quantized(run::quantization_of(folder))) {
      throw UsageError(
          "quantized",
          fmt::format("{}: its weights are quantised, and cannot be trained", folder.string()),
          "go on with the run that it was made from, then quantise that again");
    }
    if (run::is_finished(folder)) {
      reporter.note(fmt::format("{}: the run is finished; nothing to do", folder.string()));
      opened.finished = true;
      request.ranks->from_root(std::string(kFinished));
      return opened;
    }
    opened.options = resumed_options(folder, request.options);
    opened.going_on = true;
  } else {
    if (exists) {
      throw UsageError("run_exists", fmt::format("{}: a run is there already", folder.string()),
                       "go on with it by --resume, or choose another --out");
    }
    opened.options = request.options;
  }
  opened.options.refuse_unused(task);
  const run::Options& options = opened.options;
  const bool counted = options.integer("train.steps") > 0 || options.number("train.epochs") > 0;
  if (options.boolean("bit_exact") && (!counted || !options.text("train.time").empty())) {
    throw UsageError("not_exact",
                     fmt::format("--bit-exact {}: how many steps fit depends on the clock",
                                 counted ? "with --time" : "without --steps or --epochs"),
                     "give --steps or --epochs, and no --time");
  }
  return opened;
}

void begin_run(const TrainRequest& request, const std::function<void()>& write) {
  if (!request.ranks->root()) return;
  write();
  request.ranks->from_root(std::string(kBegun));
}

MemoryNeed fit_memory(const task::Problem& problem, EngineOptions& engine,
                      const run::Options& options, const Ranks& ranks, Reporter& reporter,
                      const Beside& beside) {
  const uint64_t limit = options.bytes("memory");
  const bool on_gpu = engine.gpu != nullptr;
  const uint64_t there =
      on_gpu ? memory_there_on(*engine.gpu, limit) : memory_there(limit, ranks.on_this_machine());
  const uint64_t taken = on_gpu ? 0 : beside.bytes;
  const MemoryNeed need =
      fit_memory(problem, engine, there - std::min(there, taken), ranks.rank(), ranks.size());
  if (on_gpu) {
    engine.gpu->require_memory(need.total(), "training");
    require_memory(beside.bytes, memory_there(0), options.text("model.size"), beside);
  }
  require_memory(need.total() + taken, there, options.text("model.size"), beside);
  const graph::Recompute again = engine.recompute;
  if (again != graph::Recompute{}) {
    reporter.note(fmt::format(
        "memory: to fit {}, backward makes again the norms and gated units of {} layers, and "
        "everything of {}",
        format_bytes(static_cast<double>(there)), again.light, again.full));
  }
  return need;
}

double peak_flops(const kernels::cuda::Gpu* gpu, ThreadPool& pool) {
  return gpu == nullptr ? 1e9 * kernels::cpu::measure_gflops({pool}, false) : 0;
}

TrainSummary finished_summary(const fs::path& folder) {
  TrainSummary summary;
  summary.run = folder;
  summary.was_finished = true;
  summary.metrics_json = read_file(folder / run::kMetricsFile);
  return summary;
}

std::string options_fingerprint(const run::Options& options, const run::Pipeline& pipeline) {
  Hasher hasher;
  for (const run::OptionInfo& info : run::option_table()) {
    if (is_free(info.key) || info.key == "tokenizer.kind") continue;
    hasher.update(fmt::format("{}={}\n", info.key, options.text(info.key)));
  }
  hasher.update(pipeline.data_fingerprint);
  hasher.update(pipeline.tokenizer_fingerprint);
  return hasher.hex();
}

EngineOptions engine_options(const run::Options& options, kernels::cuda::Gpu* gpu) {
  EngineOptions engine;
  engine.gpu = gpu;
  engine.batch = options.integer("train.batch");
  engine.accumulate = options.integer("train.accumulate");
  engine.seed = static_cast<uint64_t>(options.integer("seed"));
  engine.exact = options.boolean("bit_exact");
  const auto real = [&](std::string_view key) { return static_cast<float>(options.number(key)); };
  engine.optimizer.muon = options.text("train.optimizer") == "muon";
  engine.optimizer.beta1 = real("train.beta1");
  engine.optimizer.beta2 = real("train.beta2");
  engine.optimizer.weight_decay = real("regularise.weight_decay");
  engine.optimizer.clip = real("train.clip");
  engine.optimizer.ema = real("regularise.ema");
  return engine;
}

TrainerOptions trainer_options(const run::Options& options) {
  TrainerOptions trainer;
  trainer.schedule = parse_schedule(options.text("train.schedule"));
  trainer.learning_rate = options.number("train.learning_rate");
  trainer.min_learning_rate = options.number("train.min_learning_rate");
  trainer.warmup_steps =
      options.is_auto("train.warmup_steps") ? -1 : options.integer("train.warmup_steps");
  trainer.steps = options.integer("train.steps");
  trainer.epochs = options.number("train.epochs");
  trainer.seconds = options.duration("train.time");
  trainer.evaluate_every = options.integer("train.evaluate_every");
  trainer.patience = options.integer("train.patience");
  trainer.checkpoint_every = options.integer("train.checkpoint_every");
  return trainer;
}

}  // namespace quern::train
