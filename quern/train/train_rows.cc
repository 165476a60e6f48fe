#include "quern/train/train_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/formats/json.h"
#include "quern/formats/safetensors.h"
#include "quern/infer/representation.h"
#include "quern/infer/row_predictor.h"
#include "quern/task/background.h"
#include "quern/train/experiment_log.h"
#include "quern/train/projector_points.h"
#include "quern/train/row_calibration.h"
#include "quern/train/row_data.h"
#include "quern/train/row_events.h"
#include "quern/train/row_report.h"
#include "quern/train/run_loop.h"

namespace quern::train {
namespace {

/// How the training of a fold ended, beside its weights.
constexpr std::string_view kEndingFile = "ending.json";

std::string ending(const TrainResult& result) {
  return formats::json_text({{"stopped_because", name(result.stopped_because)},
                             {"steps", result.steps},
                             {"best_step", result.best_step},
                             {"seconds", result.seconds},
                             {"per_second", result.tokens_per_second},
                             {"flops_per_second", result.flops_per_second}});
}

/// Throws FormatError.
void recall_ending(const fs::path& file, TrainResult& result) {
  const nlohmann::json json = formats::parse_json(read_file(file), file.string());
  try {
    result.stopped_because = stop_reason(json.at("stopped_because").get<std::string>());
    result.steps = json.at("steps").get<int64_t>();
    result.best_step = json.at("best_step").get<int64_t>();
    result.seconds = json.at("seconds").get<double>();
    result.tokens_per_second = json.at("per_second").get<double>();
    result.flops_per_second = json.at("flops_per_second").get<double>();
  } catch (const nlohmann::json::exception&) {
    throw FormatError(fmt::format("{}: not what a trained fold leaves", file.string()),
                      "remove the fold's folder: it is trained again");
  }
}

/// One call of train_rows, stage by stage.
class RowTraining {
 public:
  RowTraining(const TrainRequest& request, Reporter& reporter)
      : request_(request), reporter_(reporter), folder_(request.run) {}

  TrainSummary run() {
    summary_.run = folder_;
    opened_ = open_run(request_, "classify", reporter_);
    if (opened_.finished) return finished_summary(folder_);
    if (!options_.text("data.costs").empty())
      threshold_by_costs(std::string(options_.text("data.costs")));  // refuses before training
    pool_ = std::make_unique<ThreadPool>(
        request_.ranks->threads(static_cast<int>(options_.integer("threads"))));
    data_ = std::make_unique<RowData>(options_, reporter_, *pool_);
    data_->read(request_.data);
    options_.refuse_unused(data_->pipeline().task);
    if (!opened_.going_on) data_->decide();
    data_->make_tokenizer(opened_.going_on ? folder_ / run::kTokenizerFile : fs::path());
    data_->divide();
    config_ = data_->configure();
    if (root()) data_->score_baselines();
    if (config_.linear) data_->fit_linear();
    data_->prepare(config_);
    prepare();
    for (size_t fold = 0; fold < parts().size(); ++fold) {
      train_fold(fold);
      if (summary_.result.stopped_because == StopReason::kInterrupted) {
        if (root()) summary_.metrics_json = row_metrics_json(report_of(), request_, summary_);
        return summary_;
      }
    }
    if (root()) finish();
    return summary_;
  }

 private:
  /// Whether this process writes the run folder and judges what came of it.
  bool root() const { return request_.ranks->root(); }

  std::span<const RowData::Part> parts() const { return data_->parts(); }

  std::unique_ptr<task::RowsProblem> problem_of(size_t fold) const {
    const auto signed_rows = [](const std::vector<size_t>& rows) {
      return std::vector<int64_t>(rows.begin(), rows.end());
    };
    auto problem = std::make_unique<task::RowsProblem>(
        config_.single(), data_->known(), signed_rows(parts()[fold].train),
        signed_rows(parts()[fold].validation), data_->noise());
    problem->use(*pool_);
    return problem;
  }

  EngineOptions engine_of(size_t fold) const {
    EngineOptions engine = engine_;
    engine.seed += fold;
    return engine;
  }

  void prepare() {
    engine_ = engine_options(options_, request_.gpu);
    const MemoryNeed need =
        fit_memory(*problem_of(0), engine_, options_, *request_.ranks, reporter_);
    peak_flops_ = peak_flops(request_.gpu, *pool_);
    begin_run(request_, [this] {
      run::create_run_folder(folder_);
      if (data_->tokenizer() != nullptr) data_->tokenizer()->save(folder_ / run::kTokenizerFile);
      if (config_.linear) data_->linear().save(folder_ / run::kLinearFile);
      write_file(folder_ / run::kPipelineFile, run::to_json(data_->pipeline()));
      save_background();
      // Last: with this file the folder counts as a run.
      write_file(folder_ / run::kOptionsFile, options_.to_toml());
    });
    model::declare_encoder(config_, parameters_);
    parameters_.allocate();
    summary_.parameters = parameters_.count();
    answers_.resize(data_->known_rows() * static_cast<size_t>(config_.outputs));
    reporter_.note(fmt::format(
        "model: {}, {} layers, width {}, {} members{}: {} parameters; {} of "
        "memory; {} threads",
        config_.trunk.preset, config_.trunk.layers, config_.trunk.width, config_.members,
        parts().size() > 1 ? fmt::format(" in each of {} folds", parts().size()) : "",
        format_count(static_cast<double>(summary_.parameters)),
        format_bytes(static_cast<double>(need.total())), pool_->threads()));
  }

  /// Rows that an explanation holds an answer against.
  void save_background() const {
    if (config_.columns() == 0) return;
    const task::TableTask& task = data_->task();
    const std::vector<size_t> rows =
        task::choose_background(task, task::kBackgroundRows, data_->seed());
    write_file(folder_ / run::kBackgroundFile,
               task::background_csv(task.table, task.pipeline.columns, rows));
  }

  /// Training rows as the model represents them: what masked texts and pictures are held against.
  void save_represented() {
    if (config_.columns() > 0) return;
    const std::vector<size_t> rows =
        task::choose_background(data_->task(), task::kBackgroundRows, data_->seed());
    features::EncodedRows encoded =
        data_->pipeline().columns.encode(data_->task().table, rows, pool_.get());
    const task::RowInputs inputs =
        task::make_row_inputs(std::move(encoded), config_, data_->tokenizer(), {});
    const std::vector<float> represented = infer::represent(config_, parameters_, inputs, *pool_);
    const Shape shape{inputs.rows(), static_cast<int64_t>(infer::representation_width(config_))};
    const formats::TensorData tensor{"rows", DType::kF32, shape,
                                     std::as_bytes(std::span(represented))};
    formats::write_safetensors(folder_ / task::kRepresentedFile, std::span(&tensor, 1));
  }

  /// Its weights until all folds are done.
  fs::path weights_of(size_t fold) const {
    return folder_ / run::kFoldFolder / fmt::format("{}-done", fold);
  }

  TrainerOptions trainer_of(const Engine& engine) const {
    TrainerOptions options = trainer_options(options_);
    options.started = request_.started;
    if (options.seconds > 0 && parts().size() > 1) {
      const double left = options.seconds - before_training_;
      options.seconds = left / static_cast<double>(parts().size());
      options.started = std::chrono::steady_clock::now();
    }
    options.peak_flops = peak_flops_;
    options.fingerprint = options_fingerprint(options_, data_->pipeline().record);
    options.finish_seconds = parts().size() > 1 ? 0.1 : 1;
    // Once an epoch; small data not so often that evaluation takes the time.
    if (options.evaluate_every == 0)
      options.evaluate_every = std::clamp<int64_t>(std::lround(engine.steps_per_epoch()), 20, 500);
    constexpr int64_t kPatience = 16;  // Gorishniy et al. 2025
    if (options.patience == 0) options.patience = kPatience;
    return options;
  }

  void train_fold(size_t fold) {
    if (fold == 0) {
      before_training_ =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - request_.started)
              .count();
    }
    if (parts().size() > 1) reporter_.note(fmt::format("fold {} of {}", fold + 1, parts().size()));
    const auto problem = problem_of(fold);
    Engine engine(*problem, engine_of(fold), *pool_, *request_.ranks);
    summary_.planned_bytes = engine.planned_bytes();
    summary_.allocated_bytes = engine.allocated_bytes();
    const bool done = opened_.going_on && fs::exists(weights_of(fold) / run::kWeightsFile);
    // What the root sees counts.
    const TrainResult result = request_.ranks->from_root(done ? 1 : 0) > 0
                                   ? finished_fold(fold, engine)
                                   : train_now(fold, engine, *problem);
    if (root() && (parts().size() == 1 || result.stopped_because != StopReason::kInterrupted))
      keep(fold, engine, result);
    if (root() && fold == 0 && result.stopped_because != StopReason::kInterrupted) {
      // Of one model alone: the vectors of two do not compare.
      embeddings_ = embed_rows(config_.single(), engine.parameters(), data_->known().inputs,
                               parts()[0].validation, *pool_);
    }
    add(result, fold);
  }

  TrainResult train_now(size_t fold, Engine& engine, const task::RowsProblem& problem) {
    RunLoop loop{&request_, &opened_, trainer_of(engine)};
    loop.folder = fold_folder(folder_, fold);
    if (root()) fs::create_directories(loop.folder / run::kCheckpointFolder);
    loop.metric_tags = {"final/loss_validation",
                        "final/" + task::main_metric(data_->pipeline()).name};
    loop.scores = [&] {
      return evaluation_scores(data_->pipeline(), problem, data_->known().targets);
    };
    return run_loop(engine, std::move(loop), reporter_);
  }

  /// Of a run that is gone on with: a fold that was done before.
  TrainResult finished_fold(size_t fold, Engine& engine) {
    graph::ParameterStore stored;
    model::declare_encoder(config_.single(), stored);
    run::load_weights(weights_of(fold), stored);
    engine.take_values(stored);
    TrainResult result;
    result.history = read_log(fold_folder(folder_, fold) / run::kLogFile).evaluations;
    result.validation = engine.evaluate(task::Part::kValidation);
    result.train = engine.evaluate(task::Part::kTrain,
                                   engine.problem().evaluation_samples(task::Part::kValidation));
    recall_ending(weights_of(fold) / kEndingFile, result);
    result.verdict = judge(result.history, result.train.loss, result.validation.loss);
    return result;
  }

  /// Takes a trained fold into the model, with its answers to the rows that it did not see.
  void keep(size_t fold, Engine& engine, const TrainResult& result) {
    const std::string prefix = config_.copy_prefix(static_cast<int64_t>(fold));
    for (size_t i = 0; i < engine.parameters().parameters().size(); ++i) {
      const auto& info = engine.parameters().parameters()[i];
      const auto from = engine.parameters().value(static_cast<int32_t>(i)).f32_span();
      const int32_t to = parameters_.find(prefix + info.name);
      std::copy(from.begin(), from.end(), parameters_.value(to).f32_span().begin());
    }
    if (parts().size() > 1) {
      fs::create_directories(weights_of(fold));
      write_file(weights_of(fold) / kEndingFile, ending(result));
      // Last: with these the fold counts as done.
      run::save_weights(weights_of(fold), engine.parameters());
    } else {
      run::save_model(folder_, config_, parameters_);
    }
    infer::RowPredictor predictor(config_.single(), engine.parameters(), *pool_);
    data_->scatter(predictor.predict(data_->known().inputs.select(parts()[fold].validation)),
                   parts()[fold].validation, answers_);
  }

  /// Adds a fold's training to what the summary says of all: losses over all rows, the verdict of
  /// the widest gap, the history of the first.
  void add(const TrainResult& result, size_t fold) {
    TrainResult& all = summary_.result;
    if (fold == 0) {
      all = result;
      return;
    }
    const auto join = [](Evaluation& a, const Evaluation& b) {
      const int64_t targets = std::max<int64_t>(a.targets + b.targets, 1);
      a.loss = (a.loss * static_cast<double>(a.targets) + b.loss * static_cast<double>(b.targets)) /
               static_cast<double>(targets);
      a.targets += b.targets;
    };
    join(all.train, result.train);
    join(all.validation, result.validation);
    all.steps += result.steps;
    all.seconds += result.seconds;
    all.stopped_because = result.stopped_because;
    if (result.verdict.gap > all.verdict.gap) all.verdict = result.verdict;
  }

  /// What is known before the model is scored.
  RowReport report_of() const {
    RowReport report;
    report.name = folder_.filename().string();
    report.run = {
        &options_, &summary_.result, summary_.parameters, read_log(folder_ / run::kLogFile),
        data_->pipeline().task == "classify" ? "nats a row" : "squared error, standardised"};
    report.pipeline = &data_->pipeline();
    report.facts = data_->task().facts;
    report.baselines = data_->baselines();
    report.peak_flops = peak_flops_;
    return report;
  }

  void finish() {
    task::RowAnswers rows = data_->gather(answers_);
    calibrate(data_->pipeline(), rows, options_);
    if (parts().size() > 1) run::save_model(folder_, config_, parameters_);
    save_represented();
    write_file(folder_ / run::kPipelineFile, run::to_json(data_->pipeline()));
    RowReport report = report_of();
    report.scores = task::score_rows(data_->pipeline(), rows, data_->seed());
    report.rows = &rows;
    const std::vector<size_t> places = data_->validated_places();
    report.table = &data_->task().table;
    report.places = places;
    report.inputs = &data_->known().inputs.columns;
    report.input_rows = data_->validated();
    report.headline = row_headline(report);
    summary_.metrics_json = row_metrics_json(report, request_, summary_);
    summary_.conclusion = row_conclusion(report, summary_);
    write_row_events(folder_, report);
    write_row_projector(folder_, report, embeddings_);
    write_file(folder_ / run::kReportFile, row_report_html(report));
    write_file(folder_ / run::kCardFile, row_model_card(report));
    for (size_t fold = 0; fold < parts().size(); ++fold) fs::remove_all(weights_of(fold));
    // Last: with this file the run counts as finished.
    write_file(folder_ / run::kMetricsFile, summary_.metrics_json);
  }

  const TrainRequest& request_;
  Reporter& reporter_;
  fs::path folder_;
  OpenedRun opened_;
  run::Options& options_ = opened_.options;
  EngineOptions engine_;  // of the first fold
  double peak_flops_ = 1;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<RowData> data_;
  model::EncoderConfig config_;
  graph::ParameterStore parameters_;  // of all folds
  std::vector<float> answers_;        // (known rows, outputs), each by a model that did not see it
  RowEmbeddings embeddings_;          // by the first fold's model
  double before_training_ = 0;        // seconds
  TrainSummary summary_;
};

}  // namespace

TrainSummary train_rows(const TrainRequest& request, Reporter& reporter) {
  return RowTraining(request, reporter).run();
}

}  // namespace quern::train
