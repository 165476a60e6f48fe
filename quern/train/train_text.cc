#include "quern/train/train_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/strings.h"
#include "quern/features/token_cache.h"
#include "quern/infer/generate.h"
#include "quern/metrics/ngram.h"
#include "quern/run/defaults.h"
#include "quern/run/run_folder.h"
#include "quern/task/generate.h"
#include "quern/task/text_problem.h"
#include "quern/train/experiment_log.h"
#include "quern/train/projector_points.h"
#include "quern/train/regularisation.h"
#include "quern/train/run_loop.h"
#include "quern/train/run_metrics.h"
#include "quern/train/training_report.h"

namespace quern::train {
namespace {

/// One call of train_text, stage by stage.
class TextTraining {
 public:
  TextTraining(const TrainRequest& request, Reporter& reporter)
      : request_(request), reporter_(reporter), folder_(request.run) {}

  TrainSummary run() {
    summary_.run = folder_;
    opened_ = open_run(request_, "generate", reporter_);
    if (opened_.finished) return finished_summary(folder_);
    prepare_data();
    prepare_model();
    if (root()) score_baseline();
    train();
    if (root() && summary_.result.stopped_because != StopReason::kInterrupted) {
      write_results();
    }
    return summary_;
  }

 private:
  /// Whether this process writes the run folder and judges what came of it.
  bool root() const { return request_.ranks->root(); }

  void prepare_data() {
    pool_ = std::make_unique<ThreadPool>(
        request_.ranks->threads(static_cast<int>(options_.integer("threads"))));
    data::TextCorpus corpus =
        data::open_text_corpus(request_.data, task::text_options(options_), reporter_);
    if (!opened_.going_on) {
      const data::PartCounts& counts = corpus.counts()[data::Part::kTrain];
      run::decide_text(options_, {counts.bytes, counts.characters});
      note_decisions();
    }
    const fs::path tokenizer_path = folder_ / run::kTokenizerFile;
    const bool has_tokenizer = opened_.going_on && fs::exists(tokenizer_path);
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
    EngineOptions engine = engine_options(options_, request_.gpu);
    problem_ = std::make_unique<task::TextProblem>(config_, task_.train, task_.validation,
                                                   options_.number("regularise.token_dropout"),
                                                   engine.seed);
    const MemoryNeed need = fit_memory(*problem_, engine, options_, *request_.ranks, reporter_);
    peak_flops_ = peak_flops(request_.gpu, *pool_);
    begin_run(request_, [this] {
      run::create_run_folder(folder_);
      task_.tokenizer->save(folder_ / run::kTokenizerFile);
      write_file(folder_ / run::kPipelineFile, run::to_json(task_.pipeline));
      // Last: with this file the folder counts as a run.
      write_file(folder_ / run::kOptionsFile, options_.to_toml());
    });
    engine_ = std::make_unique<Engine>(*problem_, engine, *pool_, *request_.ranks);
    summary_.parameters = engine_->parameters().count();
    summary_.planned_bytes = engine_->planned_bytes();
    summary_.allocated_bytes = engine_->allocated_bytes();
    reporter_.note(fmt::format(
        "model: {}, {} layers, {} heads, width {}, context {}: {} parameters; {} of memory; {} "
        "threads",
        config_.preset, config_.layers, config_.heads, config_.width, config_.context,
        format_count(static_cast<double>(summary_.parameters)),
        format_bytes(static_cast<double>(need.total())), pool_->threads()));
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
    options.fingerprint = options_fingerprint(options_, task_.pipeline);
    options.bytes_per_token = task_.bytes_per_token;
    options.finish_seconds = 1;
    RunLoop loop{&request_, &opened_, options};
    loop.metric_tags = {"loss/validation", "bits_per_byte"};
    loop.sample = [this](Engine& engine) { return sample(engine); };
    summary_.result = run_loop(*engine_, std::move(loop), reporter_);
    if (root()) run::save_model(folder_, config_, engine_->parameters());
    summary_.bits_per_byte =
        bits_per_byte(summary_.result.validation.loss, options.bytes_per_token);
    summary_.metrics_json = metrics();
    summary_.conclusion = conclusion();
  }

  std::string metrics() const {
    const TrainResult& result = summary_.result;
    nlohmann::ordered_json json = metrics_head(request_, summary_, "generate", "tokens_per_second");
    if (result.stopped_because != StopReason::kInterrupted) {
      json["train"] = {{"loss", result.train.loss}};
      json["validation"] = {{"loss", result.validation.loss},
                            {"bits_per_byte", summary_.bits_per_byte},
                            {"perplexity", std::exp(result.validation.loss)},
                            {"tokens", result.validation.targets}};
      json["baseline"] = {{"name", baseline_.statement},
                          {"bits_per_byte", summary_.baseline_bits_per_byte},
                          {"complete", baseline_.complete}};
    }
    return finish_metrics(std::move(json), options_, summary_, peak_flops_);
  }

  std::string conclusion() const {
    const TrainResult& result = summary_.result;
    const std::string run = shell_word(folder_.string());
    return fmt::format(
        "{}\n{}\ndone against overfitting: {}\nvalidation loss {:.4f}, training loss {:.4f} nats a "
        "token; {} steps in {}, "
        "stopped because of {}\nrun folder: {}\n  generate:    quern generate {} \"...\"\n  "
        "curves: "
        "     tensorboard --logdir {}\n  report:      {}\n",
        result_line(summary_.bits_per_byte, summary_.baseline_bits_per_byte), result.verdict.text,
        against_overfitting(options_, result), result.validation.loss, result.train.loss,
        with_commas(result.steps), format_duration(result.seconds), name(result.stopped_because),
        run, run, run, shell_word((folder_ / run::kReportFile).string()));
  }

  void write_results() {
    TrainingReport report;
    report.name = folder_.filename().string();
    report.run = {&options_, &summary_.result, summary_.parameters,
                  read_log(folder_ / run::kLogFile), "nats a token"};
    report.pipeline = &task_.pipeline;
    report.config = &config_;
    report.bits_per_byte = summary_.bits_per_byte;
    report.baseline_bits_per_byte = summary_.baseline_bits_per_byte;
    report.baseline = baseline_.statement;
    constexpr uint64_t kSamples = 4;  // one may end at once, where texts are short
    for (uint64_t draw = 0; draw < kSamples; ++draw) {
      report.samples.push_back(sample(*engine_, draw));
    }
    write_token_projector(folder_, engine_->parameters(), *task_.tokenizer);
    write_file(folder_ / run::kReportFile, report_html(report));
    write_file(folder_ / run::kCardFile, model_card(report));
    // Last: with this file the run counts as finished.
    write_file(folder_ / run::kMetricsFile, summary_.metrics_json);
  }

  const TrainRequest& request_;
  Reporter& reporter_;
  fs::path folder_;
  OpenedRun opened_;
  run::Options& options_ = opened_.options;
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

TrainSummary train_text(const TrainRequest& request, Reporter& reporter) {
  return TextTraining(request, reporter).run();
}

}  // namespace quern::train
