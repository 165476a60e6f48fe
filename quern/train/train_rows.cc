#include "quern/train/train_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/number.h"
#include "quern/features/tokenizer_training.h"
#include "quern/infer/row_predictor.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/run/defaults.h"
#include "quern/task/background.h"
#include "quern/task/row_scores.h"
#include "quern/task/table_task.h"
#include "quern/train/experiment_log.h"
#include "quern/train/memory.h"
#include "quern/train/regularisation.h"
#include "quern/train/row_events.h"
#include "quern/train/row_report.h"
#include "quern/train/run_metrics.h"

namespace quern::train {
namespace {

/// One call of train_rows, stage by stage.
class RowTraining {
 public:
  RowTraining(const TrainRequest& request, Reporter& reporter)
      : request_(request), reporter_(reporter), folder_(request.run) {}

  TrainSummary run() {
    summary_.run = folder_;
    OpenedRun opened = open_run(request_, "classify", reporter_);
    if (opened.finished) return finished_summary(folder_);
    options_ = std::move(opened.options);
    going_on_ = opened.going_on;
    if (!options_.text("data.costs").empty())
      threshold_by_costs(std::string(options_.text("data.costs")));  // refuses before training
    pool_ = std::make_unique<ThreadPool>(static_cast<int>(options_.integer("threads")));
    task_ = task::make_table_task(request_.data, options_, reporter_);
    fit_pictures();
    features::EncodedRows train =
        task_.pipeline.columns.encode(task_.table, task_.split.train, pool_.get());
    features::EncodedRows validation =
        task_.pipeline.columns.encode(task_.table, task_.split.validation, pool_.get());
    if (!going_on_) decide(train);
    make_tokenizer(train.texts);
    configure();
    score_baselines(train, validation);
    prepare(std::move(train), std::move(validation));
    train_model();
    if (summary_.result.stopped_because == StopReason::kInterrupted) {
      summary_.metrics_json = metrics();
    } else {
      finish();
    }
    return summary_;
  }

 private:
  void fit_pictures() {
    features::ColumnEncoder& columns = task_.pipeline.columns;
    if (columns.image_column().empty()) return;
    reporter_.progress("looking at the pictures");
    const int64_t side =
        options_.is_auto("model.image_size") ? 0 : options_.integer("model.image_size");
    columns.set_picture(features::fit_pictures(task_.table, columns.image_column(),
                                               task_.split.train, side, pool_.get()));
    const features::PictureFeature& p = columns.picture();
    reporter_.note(fmt::format("pictures: {} × {} pixels, {}; override with model.image_size",
                               p.width, p.height, p.channels == 3 ? "colour" : "grey"));
  }

  void decide(const features::EncodedRows& train) {
    run::RowFacts facts;
    facts.rows = task_.split.train.size();
    facts.columns = train.numbers + train.categories;
    facts.text = !train.texts.empty();
    facts.picture_side = std::min(train.picture.height, train.picture.width);
    facts.classify = task_.pipeline.task == "classify";
    if (facts.text) {
      std::vector<size_t> lengths;
      for (const std::string& text : train.texts) lengths.push_back(text.size());
      std::sort(lengths.begin(), lengths.end());
      facts.bytes = lengths[lengths.size() * 19 / 20];
    }
    run::decide_rows(options_, facts);
    if (facts.picture_side > 0) note_augmentation();
    for (const auto& [key, flag] : std::initializer_list<std::pair<const char*, const char*>>{
             {"model.preset", "--preset"}, {"model.size", "--size"}, {"train.time", "--time"}}) {
      if (options_.is_explicit(key) || options_.text(key).empty()) continue;
      reporter_.note(fmt::format("{}: {} ({}; override with {})", key, options_.text(key),
                                 options_.who(key), flag));
    }
  }

  void note_augmentation() {
    const auto rate = [&](const char* key) { return options_.number(key); };
    reporter_.note(fmt::format(
        "augmentation: {} ({}), RandAugment {} of 10, mixup {}, cutmix {}; override with "
        "--set regularise.augment=off|light|strong, .randaugment, .mixup, .cutmix",
        options_.text("regularise.augment"), options_.who("regularise.augment"),
        rate("regularise.randaugment"), rate("regularise.mixup"), rate("regularise.cutmix")));
  }

  void make_tokenizer(const std::vector<std::string>& texts) {
    if (texts.empty()) return;
    const fs::path path = folder_ / run::kTokenizerFile;
    if (going_on_ && fs::exists(path)) {
      tokenizer_ = features::Tokenizer::load(path);
      return;
    }
    const std::string kind(options_.text("tokenizer.kind"));
    if (kind.ends_with(".json")) {
      tokenizer_ = features::Tokenizer::load(kind);
      return;
    }
    features::TokenizerTrainOptions train;
    train.kind = features::parse_tokenizer_kind(kind);
    train.vocabulary = static_cast<size_t>(options_.integer("tokenizer.vocabulary"));
    train.pattern = features::parse_split_pattern(options_.text("tokenizer.pattern"));
    features::TokenizerTrainer trainer(train);
    for (const std::string& text : texts) trainer.feed(text);
    tokenizer_ = trainer.finish();
  }

  void configure() {
    config_ = run::encoder_config(options_);
    const features::ColumnEncoder& columns = task_.pipeline.columns;
    config_.numbers = static_cast<int64_t>(columns.numbers().size());
    config_.number_bins = config_.numbers > 0 ? columns.number_bins() : 0;
    for (const auto& feature : columns.categories()) config_.categories.push_back(feature.size());
    if (tokenizer_) {
      config_.trunk.vocabulary = static_cast<int64_t>(tokenizer_->vocabulary());
    } else {
      config_.trunk.vocabulary = 0;
      config_.ngram_buckets = config_.ngram_bag = 0;
    }
    const features::PictureFeature& picture = columns.picture();
    if (picture.present()) {
      config_.image.height = picture.height;
      config_.image.width = picture.width;
      config_.image.channels = picture.channels;
    } else {
      config_.image = {};
    }
    const bool classify = task_.pipeline.task == "classify";
    config_.mixes = picture_noise().mixes();
    config_.answer = classify ? model::Answer::kClass : model::Answer::kValue;
    config_.outputs = classify ? static_cast<int64_t>(task_.pipeline.classes.size()) : 1;
    config_.validate();
  }

  /// Before training, so that the time it takes is known when the steps are planned.
  void score_baselines(const features::EncodedRows& train,
                       const features::EncodedRows& validation) {
    reporter_.progress("scoring the baselines");
    const task::RowTargets targets = task_.targets(task_.split.train);
    task::RowAnswers rows{{}, task_.targets(task_.split.validation)};
    const task::MainMetric main = task::main_metric(task_.pipeline);
    for (task::Baseline& baseline :
         task::row_baselines(task_.pipeline, train, targets, validation)) {
      rows.answers = std::move(baseline.answers);
      ScoredBaseline scored{baseline.name, task::score_rows(task_.pipeline, rows, seed())};
      const double value = value_of(scored.scores, main.name);
      const bool better = baselines_.empty() ||
                          (main.higher ? value > value_of(baselines_[best_].scores, main.name)
                                       : value < value_of(baselines_[best_].scores, main.name));
      if (better) best_ = baselines_.size();
      baselines_.push_back(std::move(scored));
    }
  }

  task::PictureNoise picture_noise() const {
    task::PictureNoise noise =
        task::picture_noise(options_.text("regularise.augment"), task_.pipeline.columns.picture());
    if (!task_.pipeline.columns.picture().present()) return noise;
    noise.strength = options_.number("regularise.randaugment");
    if (task_.pipeline.task != "classify") return noise;
    noise.cutmix = options_.number("regularise.cutmix");
    noise.mixup = options_.number("regularise.mixup");
    return noise;
  }

  uint64_t seed() const { return static_cast<uint64_t>(options_.integer("seed")); }

  static double value_of(const std::vector<metrics::Score>& scores, std::string_view name) {
    for (const metrics::Score& score : scores)
      if (score.name == name) return score.interval.value;
    return std::nan("");
  }

  void prepare(features::EncodedRows train, features::EncodedRows validation) {
    task::RowNoise noise;
    noise.column_dropout = options_.number("regularise.column_dropout");
    noise.token_dropout = options_.number("regularise.token_dropout");
    noise.picture = picture_noise();
    noise.seed = static_cast<uint64_t>(options_.integer("seed"));
    const auto side = [&](features::EncodedRows rows, std::span<const size_t> indices) {
      return task::RowsProblem::Side{
          task::make_row_inputs(std::move(rows), config_, tokenizer_.get()),
          task_.targets(indices)};
    };
    validation_ = side(std::move(validation), task_.split.validation);
    problem_ = std::make_unique<task::RowsProblem>(
        config_, side(std::move(train), task_.split.train), validation_, noise);
    problem_->use(*pool_);
    const EngineOptions engine = engine_options(options_, request_.gpu);
    const MemoryNeed need = memory_need(*problem_, engine);
    require_memory(need.total(), options_.bytes("memory"), options_.text("model.size"));
    peak_flops_ = 1e9 * kernels::cpu::measure_gflops({*pool_}, false);
    run::create_run_folder(folder_);
    if (tokenizer_) tokenizer_->save(folder_ / run::kTokenizerFile);
    write_file(folder_ / run::kPipelineFile, run::to_json(task_.pipeline));
    save_background();
    // Last: with this file the folder counts as a run.
    write_file(folder_ / run::kOptionsFile, options_.to_toml());
    engine_ = std::make_unique<Engine>(*problem_, engine, *pool_);
    summary_.parameters = engine_->parameters().count();
    summary_.planned_bytes = engine_->planned_bytes();
    summary_.allocated_bytes = engine_->allocated_bytes();
    reporter_.note(fmt::format(
        "model: {}, {} layers, width {}, {} members: {} parameters; {} of memory; {} threads",
        config_.trunk.preset, config_.trunk.layers, config_.trunk.width, config_.members,
        format_count(static_cast<double>(summary_.parameters)),
        format_bytes(static_cast<double>(need.total())), pool_->threads()));
  }

  /// Rows that an explanation holds an answer against.
  void save_background() const {
    if (config_.columns() == 0) return;
    const std::vector<size_t> rows = task::choose_background(task_, task::kBackgroundRows, seed());
    write_file(folder_ / run::kBackgroundFile,
               task::background_csv(task_.table, task_.pipeline.columns, rows));
  }

  void train_model() {
    TrainerOptions options = trainer_options(options_);
    options.started = request_.started;
    options.peak_flops = peak_flops_;
    options.checkpoints = folder_ / run::kCheckpointFolder;
    options.fingerprint = options_fingerprint(options_, task_.pipeline.record);
    options.finish_seconds = 1;
    // Once an epoch; small data not so often that evaluation takes the time.
    if (options.evaluate_every == 0) {
      options.evaluate_every =
          std::clamp<int64_t>(std::lround(engine_->steps_per_epoch()), 20, 500);
    }
    constexpr int64_t kPatience = 16;  // Gorishniy et al. 2025
    if (options.patience == 0) options.patience = kPatience;
    ExperimentLog log(folder_, 0, {});
    log.score_with(
        [this] { return evaluation_scores(task_.pipeline, *problem_, validation_.targets); });
    Trainer trainer(*engine_, options, reporter_, log);
    if (request_.resume) {
      if (going_on_ && trainer.resume()) {
        trainer.recall(read_log(folder_ / run::kLogFile).evaluations);
      } else {
        reporter_.note("no checkpoint to resume from: training starts afresh");
        log.on_resume(0);
      }
    } else {
      log.write_options(
          options_, std::vector<std::string>{"final/loss_validation",
                                             "final/" + task::main_metric(task_.pipeline).name});
    }
    summary_.result = trainer.run();
    run::save_model(folder_, config_, engine_->parameters());
    log.finish(summary_.result);
  }

  void finish() {
    infer::RowPredictor predictor(config_, engine_->parameters(), *pool_);
    task::RowAnswers rows{predictor.predict(validation_.inputs), validation_.targets};
    calibrate(rows);
    scores_ = task::score_rows(task_.pipeline, rows, seed());
    write_file(folder_ / run::kPipelineFile, run::to_json(task_.pipeline));
    summary_.metrics_json = metrics();
    summary_.conclusion = conclusion();
    RowReport report;
    report.name = folder_.filename().string();
    report.run = {&options_, &summary_.result, summary_.parameters,
                  read_log(folder_ / run::kLogFile),
                  task_.pipeline.task == "classify" ? "nats a row" : "squared error, standardised"};
    report.pipeline = &task_.pipeline;
    report.facts = task_.facts;
    report.scores = scores_;
    report.baselines = baselines_;
    report.rows = &rows;
    report.table = &task_.table;
    report.places = task_.split.validation;
    report.inputs = &validation_.inputs.columns;
    report.headline = headline();
    write_row_events(folder_, report);
    write_file(folder_ / run::kReportFile, row_report_html(report));
    write_file(folder_ / run::kCardFile, row_model_card(report));
    // Last: with this file the run counts as finished.
    write_file(folder_ / run::kMetricsFile, summary_.metrics_json);
  }

  /// What is chosen on the validation part, after training: temperature, threshold, interval.
  void calibrate(task::RowAnswers& rows) {
    run::RowPipeline& p = task_.pipeline;
    if (p.task == "regress") {
      constexpr double kCoverage = 0.9;
      const double half = metrics::conformal_half_width(task::own_units(p, rows).view(), kCoverage);
      p.interval = std::isfinite(half) ? half : 0;
      return;
    }
    p.temperature = metrics::fit_temperature(task::classified(p, rows));
    infer::apply_temperature(rows.answers, config_.outputs, p.temperature);
    if (p.positive < 0) return;
    const std::string metric(options_.text("data.metric"));
    const std::string costs(options_.text("data.costs"));
    p.threshold_metric = metric;
    if (!costs.empty()) {
      p.threshold_metric = "costs " + costs;
      p.threshold = threshold_by_costs(costs);
    } else if (metric == "accuracy") {
      p.threshold = metrics::fit_threshold(task::classified(p, rows), metrics::accuracy);
    } else if (metric == "balanced_accuracy") {
      p.threshold = metrics::fit_threshold(task::classified(p, rows), metrics::balanced_accuracy);
    } else if (metric == "f1") {
      p.threshold = metrics::fit_threshold(task::classified(p, rows), metrics::f1);
    }
  }

  static double threshold_by_costs(const std::string& costs) {
    const std::vector<std::string> parts = split(costs, ':');
    const auto first = data::parse_number(parts.front());
    const auto second = data::parse_number(parts.back());
    if (parts.size() != 2 || !first || !second || *first <= 0 || *second <= 0) {
      throw UsageError("bad_value", fmt::format("data.costs = {} is not two costs", costs),
                       "what a false alarm costs, then a miss, as 1:5");
    }
    return metrics::cost_threshold(*first, *second);
  }

  /// Who won, plainly.
  std::string headline() const {
    const task::MainMetric main = task::main_metric(task_.pipeline);
    const double ours = value_of(scores_, main.name);
    const double theirs = value_of(baselines_[best_].scores, main.name);
    const bool wins = main.higher ? ours > theirs : ours < theirs;
    return fmt::format("{} {:.4f}; {} on the same split has {:.4f}: {}", main.name, ours,
                       baselines_[best_].name, theirs,
                       wins ? "the transformer wins" : "the transformer does not win");
  }

  std::string metrics() const {
    const TrainResult& result = summary_.result;
    nlohmann::ordered_json json =
        metrics_head(request_, summary_, task_.pipeline.task, "rows_per_second");
    if (result.stopped_because != StopReason::kInterrupted) {
      json["train"] = {{"loss", result.train.loss}};
      json["validation"] = {{"loss", result.validation.loss}, {"rows", result.validation.targets}};
      for (const metrics::Score& score : scores_)
        json["validation"][score.name] = score.interval.value;
    }
    nlohmann::ordered_json baselines = nlohmann::ordered_json::array();
    for (const ScoredBaseline& baseline : baselines_) {
      nlohmann::ordered_json each{{"name", baseline.name}};
      for (const metrics::Score& score : baseline.scores) each[score.name] = score.interval.value;
      baselines.push_back(std::move(each));
    }
    json["baseline"] = baselines[best_];
    json["baselines"] = std::move(baselines);
    return finish_metrics(std::move(json), options_, summary_, peak_flops_);
  }

  std::string conclusion() const {
    const TrainResult& result = summary_.result;
    const std::string run = folder_.string();
    return fmt::format(
        "{}\n{}\ndone against overfitting: {}\nvalidation loss {:.4f}, training loss {:.4f}; {} "
        "steps in {}, stopped because of "
        "{}\n"
        "run folder: {}\n  predict:     quern predict {} FILE\n  curves:      tensorboard --logdir "
        "{}\n  report:      {}\n",
        headline(), result.verdict.text, against_overfitting(options_, result),
        result.validation.loss, result.train.loss, with_commas(result.steps),
        format_duration(result.seconds), name(result.stopped_because), run, run, run,
        (folder_ / run::kReportFile).string());
  }

  const TrainRequest& request_;
  Reporter& reporter_;
  fs::path folder_;
  run::Options options_;
  bool going_on_ = false;
  double peak_flops_ = 1;
  task::TableTask task_;
  std::shared_ptr<const features::Tokenizer> tokenizer_;
  model::EncoderConfig config_;
  task::RowsProblem::Side validation_;
  std::vector<ScoredBaseline> baselines_;
  size_t best_ = 0;  // of the baselines
  std::vector<metrics::Score> scores_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<task::RowsProblem> problem_;
  std::unique_ptr<Engine> engine_;
  TrainSummary summary_;
};

}  // namespace

TrainSummary train_rows(const TrainRequest& request, Reporter& reporter) {
  return RowTraining(request, reporter).run();
}

}  // namespace quern::train
