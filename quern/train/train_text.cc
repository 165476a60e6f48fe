#include "quern/train/train_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/features/token_cache.h"
#include "quern/infer/generate.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/metrics/ngram.h"
#include "quern/run/defaults.h"
#include "quern/run/run_folder.h"
#include "quern/task/generate.h"
#include "quern/task/text_problem.h"
#include "quern/train/experiment_log.h"
#include "quern/train/memory.h"
#include "quern/train/training_report.h"

namespace quern::train {
namespace {

/// What may differ between a run and the run that goes on with it: nothing of these changes what a
/// step does.
constexpr std::array<std::string_view, 10> kFree = {"threads",
                                                    "device",
                                                    "memory",
                                                    "train.steps",
                                                    "train.epochs",
                                                    "train.time",
                                                    "train.patience",
                                                    "train.evaluate_every",
                                                    "train.checkpoint_every",
                                                    "bit_exact"};

bool is_free(std::string_view key) {
  return std::find(kFree.begin(), kFree.end(), key) != kFree.end();
}

/// The options of the run that is gone on with; what is said now must not contradict them.
run::Options resumed_options(const fs::path& folder, const run::Options& said) {
  const fs::path path = folder / run::kOptionsFile;
  run::Options options = run::Options::from_resolved(read_file(path), path.string());
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

std::string fingerprint(const run::Options& options, const run::Pipeline& pipeline) {
  Hasher hasher;
  for (const run::OptionInfo& info : run::option_table()) {
    if (is_free(info.key) || info.key == "tokenizer.kind") continue;
    hasher.update(fmt::format("{}={}\n", info.key, options.text(info.key)));
  }
  hasher.update(pipeline.data_fingerprint);
  hasher.update(pipeline.tokenizer_fingerprint);
  return hasher.hex();
}

void check_task(const run::Options& options) {
  const std::string_view task = options.text("data.task");
  const std::string_view target = options.text("data.target");
  const char* hint = "this version learns to continue text (--task generate, no --target)";
  if (!target.empty()) {
    throw UsageError("unsupported_task",
                     fmt::format("--target {}: learning a column is not in this version", target),
                     hint);
  }
  if (task != "auto" && task != "generate") {
    throw UsageError("unsupported_task", fmt::format("--task {} is not in this version", task),
                     hint);
  }
  options.refuse_unused("generate");
  if (options.boolean("bit_exact") && !options.text("train.time").empty()) {
    throw UsageError("not_exact",
                     "--bit-exact with --time: how many steps fit depends on the clock",
                     "give --steps or --epochs instead of --time");
  }
}

/// One call of train_text, stage by stage.
class TextTraining {
 public:
  TextTraining(const TrainRequest& request, Reporter& reporter)
      : request_(request), reporter_(reporter), folder_(request.run) {}

  TrainSummary run() {
    summary_.run = folder_;
    if (open_folder()) return summary_;
    prepare_data();
    prepare_model();
    score_baseline();
    train();
    if (summary_.result.stopped_because != StopReason::kInterrupted) {
      write_results();
    }
    return summary_;
  }

 private:
  /// True when there is nothing to do.
  bool open_folder() {
    const bool exists = run::is_run_folder(folder_);
    if (exists && request_.resume) {
      if (run::is_finished(folder_)) {
        reporter_.note(fmt::format("{}: the run is finished; nothing to do", folder_.string()));
        summary_.was_finished = true;
        summary_.metrics_json = read_file(folder_ / run::kMetricsFile);
        return true;
      }
      options_ = resumed_options(folder_, request_.options);
      going_on_ = true;
    } else {
      if (exists) {
        throw UsageError("run_exists", fmt::format("{}: a run is there already", folder_.string()),
                         "go on with it by --resume, or choose another --out");
      }
      options_ = request_.options;
    }
    check_task(options_);
    return false;
  }

  void prepare_data() {
    pool_ = std::make_unique<ThreadPool>(static_cast<int>(options_.integer("threads")));
    data::TextCorpus corpus =
        data::open_text_corpus(request_.data, task::text_options(options_), reporter_);
    if (!going_on_) {
      const data::PartCounts& counts = corpus.counts()[data::Part::kTrain];
      run::decide_text(options_, {counts.bytes, counts.characters});
      note_decisions();
    }
    const fs::path tokenizer_path = folder_ / run::kTokenizerFile;
    const bool has_tokenizer = going_on_ && fs::exists(tokenizer_path);
    auto tokenizer = has_tokenizer ? features::Tokenizer::load(tokenizer_path)
                                   : task::make_tokenizer(corpus, options_, reporter_);
    const fs::path cache = features::usable_cache_folder(folder_ / run::kCacheFolder, reporter_);
    task_ =
        task::make_generate_task(std::move(corpus), std::move(tokenizer), cache, *pool_, reporter_);
    reporter_.note(fmt::format(
        "tokens: {} to train on, {} to validate on; vocabulary {} ({}), {:.2f} bytes a token",
        with_commas(static_cast<int64_t>(task_.train.tokens)),
        with_commas(static_cast<int64_t>(task_.validation.tokens)),
        with_commas(static_cast<int64_t>(task_.tokenizer->vocabulary())), task_.tokenizer->kind(),
        task_.bytes_per_token));
  }

  /// Before training, so that the time it takes is known when the steps are planned.
  void score_baseline() {
    baseline_ = metrics::ngram_baseline(task_.corpus, data::Part::kValidation, {}, reporter_);
    summary_.baseline_bits_per_byte = baseline_.score.bits_per_byte();
  }

  /// Each inference with its reason and the override.
  void note_decisions() {
    reporter_.note("task: generate (text without a target column; override with --task)");
    struct Line {
      std::string_view key, flag;
    };
    constexpr std::array<Line, 4> kLines = {
        {{"model.preset", "--preset"},
         {"model.size", "--size"},
         {"train.time", "--time, --steps or --epochs"},
         {"tokenizer.vocabulary", "--set tokenizer.vocabulary="}}};
    for (const auto& [key, flag] : kLines) {
      if (options_.layer(key) == run::Layer::kDefault || options_.is_explicit(key)) continue;
      if (key == "tokenizer.vocabulary" && options_.text("tokenizer.kind") != "bpe") continue;
      reporter_.note(fmt::format("{}: {} ({}; override with {})", key, options_.text(key),
                                 options_.who(key), flag));
    }
  }

  void prepare_model() {
    config_ = run::model_config(options_, static_cast<int64_t>(task_.tokenizer->vocabulary()));
    const EngineOptions engine = engine_options(options_);
    problem_ = std::make_unique<task::TextProblem>(config_, task_.train, task_.validation,
                                                   options_.number("regularise.token_dropout"),
                                                   engine.seed);
    require_memory(memory_need(*problem_, engine).total(), options_.bytes("memory"),
                   options_.text("model.size"));
    peak_flops_ = 1e9 * kernels::cpu::measure_gflops({*pool_}, false);
    run::create_run_folder(folder_);
    task_.tokenizer->save(folder_ / run::kTokenizerFile);
    write_file(folder_ / run::kPipelineFile, run::to_json(task_.pipeline));
    // Last: with this file the folder counts as a run.
    write_file(folder_ / run::kOptionsFile, options_.to_toml());
    engine_ = std::make_unique<Engine>(*problem_, engine, *pool_);
    summary_.parameters = engine_->parameters().count();
    summary_.planned_bytes = engine_->planned_bytes();
    summary_.allocated_bytes = engine_->allocated_bytes();
    reporter_.note(fmt::format(
        "model: {}, {} layers, {} heads, width {}, context {}: {} parameters; {} of memory; {} "
        "threads",
        config_.preset, config_.layers, config_.heads, config_.width, config_.context,
        format_count(static_cast<double>(summary_.parameters)),
        format_bytes(static_cast<double>(memory_need(*problem_, engine).total())),
        pool_->threads()));
  }

  std::string sample(Engine& engine, uint64_t draw = 0) {
    infer::Session session(config_, engine.parameters(), *pool_);
    infer::GenerateOptions options;
    options.max_tokens = std::min<int64_t>(100, config_.context);
    options.sampling.seed = static_cast<uint64_t>(options_.integer("seed")) + draw;
    return infer::generate(session, *task_.tokenizer, "", options).text;
  }

  void train() {
    TrainerOptions options = trainer_options(options_);
    options.started = request_.started;
    options.peak_flops = peak_flops_;
    options.checkpoints = folder_ / run::kCheckpointFolder;
    options.fingerprint = fingerprint(options_, task_.pipeline);
    options.bytes_per_token = task_.bytes_per_token;
    options.finish_seconds = 1;
    ExperimentLog log(folder_, options.bytes_per_token,
                      [this](Engine& engine) { return sample(engine); });
    Trainer trainer(*engine_, options, reporter_, log);
    if (request_.resume) {
      if (going_on_ && trainer.resume()) {
        trainer.recall(read_log(folder_ / run::kLogFile).evaluations);
      } else {
        reporter_.note("no checkpoint to resume from: training starts afresh");
        log.on_resume(0);
      }
    } else {
      log.write_options(options_);
    }
    summary_.result = trainer.run();
    run::save_model(folder_, config_, engine_->parameters());
    log.finish(summary_.result);
    summary_.bits_per_byte =
        bits_per_byte(summary_.result.validation.loss, options.bytes_per_token);
    summary_.metrics_json = metrics();
  }

  std::string metrics() const {
    const TrainResult& result = summary_.result;
    nlohmann::ordered_json json{{"run", folder_.string()},
                                {"task", "generate"},
                                {"device", "cpu"},
                                {"parameters", summary_.parameters},
                                {"steps", result.steps},
                                {"seconds", result.seconds},
                                {"best_step", result.best_step},
                                {"stopped_because", name(result.stopped_because)},
                                {"tokens_per_second", result.tokens_per_second}};
    if (result.stopped_because != StopReason::kInterrupted) {
      json["train"] = {{"loss", result.train.loss}};
      json["validation"] = {{"loss", result.validation.loss},
                            {"bits_per_byte", summary_.bits_per_byte},
                            {"perplexity", std::exp(result.validation.loss)},
                            {"tokens", result.validation.targets}};
      json["baseline"] = {{"name", baseline_.statement},
                          {"bits_per_byte", summary_.baseline_bits_per_byte},
                          {"complete", baseline_.complete}};
      json["verdict"] = result.verdict.text;
      json["gap"] = result.verdict.gap;
    }
    json["share_of_peak"] = result.flops_per_second / peak_flops_;
    json["planned_bytes"] = summary_.planned_bytes;
    json["allocated_bytes"] = summary_.allocated_bytes;
    return json.dump(2) + "\n";
  }

  void write_results() {
    TrainingReport report;
    report.name = folder_.filename().string();
    report.options = &options_;
    report.pipeline = &task_.pipeline;
    report.config = &config_;
    report.result = &summary_.result;
    report.parameters = summary_.parameters;
    report.bits_per_byte = summary_.bits_per_byte;
    report.baseline_bits_per_byte = summary_.baseline_bits_per_byte;
    report.baseline = baseline_.statement;
    report.losses = read_log(folder_ / run::kLogFile);
    constexpr uint64_t kSamples = 4;  // one may end at once, where texts are short
    for (uint64_t draw = 0; draw < kSamples; ++draw) {
      report.samples.push_back(sample(*engine_, draw));
    }
    write_file(folder_ / run::kReportFile, report_html(report));
    write_file(folder_ / run::kCardFile, model_card(report));
    // Last: with this file the run counts as finished.
    write_file(folder_ / run::kMetricsFile, summary_.metrics_json);
  }

  const TrainRequest& request_;
  Reporter& reporter_;
  fs::path folder_;
  run::Options options_;
  bool going_on_ = false;
  double peak_flops_ = 1;
  task::GenerateTask task_;
  metrics::NgramBaseline baseline_;
  model::ModelConfig config_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<task::TextProblem> problem_;
  std::unique_ptr<Engine> engine_;
  TrainSummary summary_;
};

}  // namespace

EngineOptions engine_options(const run::Options& options) {
  EngineOptions engine;
  engine.batch = options.integer("train.batch");
  engine.accumulate = options.integer("train.accumulate");
  engine.seed = static_cast<uint64_t>(options.integer("seed"));
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

TrainSummary train_text(const TrainRequest& request, Reporter& reporter) {
  return TextTraining(request, reporter).run();
}

}  // namespace quern::train
