#include "quern/train/train_recommend.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/table_reader.h"
#include "quern/infer/item_ranker.h"
#include "quern/metrics/ease.h"
#include "quern/metrics/recommendation.h"
#include "quern/run/defaults.h"
#include "quern/run/item_run.h"
#include "quern/task/item_scores.h"
#include "quern/task/recommend.h"
#include "quern/train/experiment_log.h"
#include "quern/train/projector_points.h"
#include "quern/train/recommend_report.h"
#include "quern/train/regularisation.h"
#include "quern/train/row_events.h"
#include "quern/train/run_loop.h"
#include "quern/train/run_metrics.h"

namespace quern::train {
namespace {

constexpr uint32_t kShown = 10;  // the k of the scores

constexpr size_t kPenaltyUsers = 1000;  // that choose EASE's penalty

/// One call of train_recommend, stage by stage.
class RecommendTraining {
 public:
  RecommendTraining(const TrainRequest& request, Reporter& reporter)
      : request_(request), reporter_(reporter), folder_(request.run) {}

  TrainSummary run() {
    summary_.run = folder_;
    opened_ = open_run(request_, "recommend", reporter_);
    if (opened_.finished) return finished_summary(folder_);
    pool_ = std::make_unique<ThreadPool>(
        request_.ranks->threads(static_cast<int>(options_.integer("threads"))));
    read_log_of_users();
    if (!opened_.going_on) decide();
    prepare();
    if (root()) score_baselines();
    train_model();
    if (!root()) return summary_;
    if (summary_.result.stopped_because == StopReason::kInterrupted) {
      summary_.metrics_json = metrics();
    } else {
      finish();
    }
    return summary_;
  }

 private:
  /// Whether this process writes the run folder and judges what came of it.
  bool root() const { return request_.ranks->root(); }

  uint64_t seed() const { return static_cast<uint64_t>(options_.integer("seed")); }

  void read_log_of_users() {
    const data::Table table = data::read_table(
        request_.data, {.table = std::string(options_.text("data.table"))}, reporter_);
    data::Interactions log = data::read_interactions(
        table,
        {std::string(options_.text("data.user")), std::string(options_.text("data.item")),
         std::string(options_.text("data.time"))},
        reporter_);
    const std::vector<std::string> rare = data::leave_out_rare(
        log, static_cast<uint64_t>(options_.integer("data.min_count")), reporter_);
    data::require_learnable(log);
    features::HistorySplit parts = run::split_log(log, options_);
    pipeline_.columns = log.columns;
    pipeline_.items = features::make_vocabulary(log, parts);
    learnt_ = pipeline_.items.size();
    add_item_columns(table, rare);
    log_ = task::make_item_log(log, std::move(parts), pipeline_.items);
    for (size_t user = 0; user < log.users.size(); ++user) {
      histories_.users.push_back(log.users[user]);
      histories_.items.push_back(features::known_tail(log_.ids[user], log_.ids[user].size()));
    }
    find_tested(log);
    record(log);
  }

  /// From the table of items, or from columns of the log; without the `rare` items.
  void add_item_columns(const data::Table& log, std::span<const std::string> rare) {
    const std::string file(options_.text("data.items"));
    std::vector<std::string> columns;
    for (const std::string& name : quern::split(options_.text("data.item_columns"), ','))
      if (!trim(name).empty()) columns.emplace_back(trim(name));
    if (file.empty() && columns.empty()) return;
    if (file.empty()) {
      pipeline_.sides = features::make_item_sides(log, pipeline_.columns.item, columns, rare,
                                                  pipeline_.items, reporter_);
    } else {
      const std::vector<fs::path> path = {file};
      pipeline_.sides =
          features::make_item_sides(data::read_table(path, {}, reporter_), pipeline_.columns.item,
                                    columns, rare, pipeline_.items, reporter_);
    }
    reporter_.note(
        fmt::format("{} of {} items are not in the training part: known by their columns",
                    pipeline_.items.size() - learnt_, pipeline_.items.size()));
  }

  void find_tested(const data::Interactions& log) {
    for (size_t user = 0; user < log_.ids.size(); ++user) {
      const features::HistorySplit::Part& part = log_.split.parts[user];
      const auto add = [&](task::TestedUsers& users, int64_t place) {
        users.add(log_.ids[user], log.items_of(user), static_cast<size_t>(place));
      };
      if (part.test >= 0) add(tested_, part.test);
      if (part.validation > 0 && validated_.size() < kPenaltyUsers)
        add(validated_, part.validation);
    }
  }

  void record(const data::Interactions& log) {
    pipeline_.protocol =
        task::describe_protocol(log_.split.protocol, pipeline_.items.size(), tested_);
    pipeline_.record.task = "recommend";
    pipeline_.record.data_fingerprint = log.fingerprint;
    pipeline_.record.split = {{"mode", options_.text("data.split") == "time" ? "time" : "last"}};
    pipeline_.record.counts = {{"users", log.users.size()},
                               {"items", pipeline_.items.size()},
                               {"interactions", log.item_of.size()},
                               {"tested_users", tested_.size()},
                               {"tested_users_new_item", tested_.new_items()}};
    reporter_.note(fmt::format("log: {} users, {} items ({} in the training part), {} interactions",
                               with_commas(static_cast<int64_t>(log.users.size())),
                               with_commas(static_cast<int64_t>(log.items.size())),
                               with_commas(static_cast<int64_t>(learnt_)),
                               with_commas(static_cast<int64_t>(log.item_of.size()))));
    reporter_.note("protocol: " + pipeline_.protocol);
  }

  void decide() {
    std::vector<uint64_t> lengths;
    for (const auto& ids : log_.ids) lengths.push_back(ids.size());
    std::sort(lengths.begin(), lengths.end());
    run::LogFacts facts;
    facts.items = learnt_;
    facts.typical_length = lengths[lengths.size() / 2];
    run::decide_recommend(options_, facts);
    for (const auto& [key, flag] : std::initializer_list<std::pair<const char*, const char*>>{
             {"model.preset", "--preset"},
             {"model.size", "--size"},
             {"model.context", "--set model.context="},
             {"train.candidates", "--set train.candidates="},
             {"train.time", "--time"}}) {
      if (options_.is_explicit(key) || options_.text(key).empty()) continue;
      reporter_.note(fmt::format("{}: {} ({}; override with {})", key, options_.text(key),
                                 options_.who(key), flag));
    }
  }

  void prepare() {
    config_ = run::model_config(options_, static_cast<int64_t>(learnt_) + 1);
    config_.side_rows = pipeline_.sides.rows;
    config_.side_slots = pipeline_.sides.slots;
    if (config_.side_slots > 0)
      config_.entry_dropout = static_cast<float>(options_.number("regularise.item_dropout"));
    config_.validate();
    EngineOptions engine = engine_options(options_, request_.gpu);
    task::ItemTraining training;
    training.token_dropout = options_.number("regularise.token_dropout");
    training.candidates = options_.integer("train.candidates");
    training.counts = pipeline_.items.counts();
    training.side = pipeline_.sides.codes;
    training.seed = seed();
    require_candidates(training.candidates);
    problem_ = std::make_unique<task::ItemProblem>(config_, log_, training);
    const MemoryNeed need = fit_memory(
        *problem_, engine, options_, *request_.ranks, reporter_,
        {root() ? scoring_bytes() : 0,
         fmt::format("{} items, each with a row of weights and a score at every position: "
                     "leave out the rare ones with --set data.min_count=5",
                     with_commas(static_cast<int64_t>(pipeline_.items.size())))});
    peak_flops_ = peak_flops(request_.gpu, *pool_);
    begin_run(request_, [this] {
      run::create_run_folder(folder_);
      write_file(folder_ / run::kPipelineFile, run::to_json(pipeline_));
      write_file(folder_ / run::kHistoriesFile, features::to_json_lines(histories_));
      // Last: with this file the folder counts as a run.
      write_file(folder_ / run::kOptionsFile, options_.to_toml());
    });
    engine_ = std::make_unique<Engine>(*problem_, engine, *pool_, *request_.ranks);
    summary_.parameters = engine_->parameters().count();
    summary_.planned_bytes = engine_->planned_bytes();
    summary_.allocated_bytes = engine_->allocated_bytes();
    reporter_.note(fmt::format(
        "model: {}, {} layers, {} heads, width {}, histories of {}: {} parameters; {} of memory; "
        "{} threads",
        config_.preset, config_.layers, config_.heads, config_.width, config_.context,
        format_count(static_cast<double>(summary_.parameters)),
        format_bytes(static_cast<double>(need.total())), pool_->threads()));
  }

  /// Throws UsageError where the candidates cannot hold the targets of a step, or are no sample.
  void require_candidates(int64_t count) const {
    const int64_t targets =
        options_.integer("train.batch") / options_.integer("train.accumulate") * config_.context;
    const auto items = static_cast<int64_t>(learnt_);
    if (count == 0 || (count >= targets && count < items)) return;
    throw UsageError(
        "bad_value",
        fmt::format("train.candidates = {}: a step has up to {} targets, of {} items", count,
                    targets, items),
        targets < items
            ? fmt::format("give a number from {} to {}, or 0 for all items", targets, items - 1)
            : "give 0 for all items, or make train.batch smaller");
  }

  /// What the baselines take before training or the ranker after it, whichever is more.
  size_t scoring_bytes() const {
    const auto items = static_cast<uint32_t>(pipeline_.items.size());
    const std::vector<std::span<const uint32_t>> trained = trained_histories();
    return task::RankKeeper::bytes(tested_.size(), items, kShown) +
           std::max({metrics::ItemNeighbours::most_bytes(trained, items),
                     metrics::Ease::most_bytes(trained, items),
                     infer::ItemRanker::bytes(config_, pipeline_.sides.codes)});
  }

  std::vector<std::span<const uint32_t>> trained_histories() const {
    std::vector<std::span<const uint32_t>> trained;
    trained.reserve(log_.ids.size());
    for (size_t user = 0; user < log_.ids.size(); ++user)
      trained.push_back(log_.before(user, log_.split.parts[user].train_end));
    return trained;
  }

  template <typename Method>
  void score_baseline(const std::string& name, const Method& method) {
    baselines_.push_back(task::score_method(name, tested_, pipeline_.items.size(), kShown, seed(),
                                            method, reporter_));
  }

  /// Before training, so that the time it takes is known when the steps are planned. They learn
  /// from what training learns from, and see the history that the model sees.
  void score_baselines() {
    reporter_.progress("scoring the baselines");
    const features::ItemVocabulary& items = pipeline_.items;
    score_baseline("popularity", [&](size_t, std::span<float> scores) {
      for (uint32_t id = 1; id < scores.size(); ++id)
        scores[id] = static_cast<float>(items.count(id));
    });
    score_baseline("own items", [&](size_t user, std::span<float> scores) {
      metrics::score_own_items(tested_.histories[user], items.counts(), scores);
    });
    const std::vector<std::span<const uint32_t>> trained = trained_histories();
    score_item_item(trained);
    score_ease(trained);
  }

  void score_item_item(std::span<const std::span<const uint32_t>> trained) {
    const metrics::ItemNeighbours near(trained, static_cast<uint32_t>(pipeline_.items.size()));
    score_baseline("item-item", [&](size_t user, std::span<float> scores) {
      near.score(tested_.histories[user], scores);
    });
  }

  /// Its penalty is chosen on what chooses the best step of training.
  void score_ease(std::span<const std::span<const uint32_t>> trained) {
    metrics::Ease ease(trained, static_cast<uint32_t>(pipeline_.items.size()), *pool_);
    float best_penalty = 0;
    double best = -1;
    for (const float penalty : {5.0F, 20.0F, 100.0F, 500.0F}) {
      ease.fit(penalty);
      const task::RecommendScores scores = task::score_method(
          "", validated_, pipeline_.items.size(), kShown, seed(),
          [&](size_t user, std::span<float> out) { ease.score(validated_.histories[user], out); },
          silent_reporter());
      if (main_score(scores) <= best) continue;
      best = main_score(scores);
      best_penalty = penalty;
    }
    ease.fit(best_penalty);
    reporter_.note(fmt::format("EASE: penalty {}, chosen on {} validation users; {} items",
                               best_penalty, validated_.size(), ease.items()));
    score_baseline("ease", [&](size_t user, std::span<float> scores) {
      ease.score(tested_.histories[user], scores);
    });
  }

  void train_model() {
    TrainerOptions options = trainer_options(options_);
    options.started = request_.started;
    options.peak_flops = peak_flops_;
    options.fingerprint = options_fingerprint(options_, pipeline_.record);
    options.finish_seconds = 3;
    RunLoop loop{&request_, &opened_, options};
    loop.metric_tags = {"final/loss_validation", fmt::format("final/ndcg@{}", kShown)};
    summary_.result = run_loop(*engine_, std::move(loop), reporter_);
    if (root()) run::save_model(folder_, config_, engine_->parameters());
  }

  void finish() {
    infer::ItemRanker ranker(config_, engine_->parameters(), pipeline_.items.counts(),
                             pipeline_.sides.codes, *pool_);
    task::RankKeeper keeper("transformer", tested_, pipeline_.items.size(), kShown, reporter_);
    ranker.rank(tested_.histories, [&](size_t, std::span<float> scores) { keeper.take(scores); });
    scores_ = keeper.scores(seed());
    summary_.metrics_json = metrics();
    summary_.conclusion = conclusion();
    RecommendReport report;
    report.name = folder_.filename().string();
    report.headline = headline();
    report.run = {&options_, &summary_.result, summary_.parameters,
                  read_log(folder_ / run::kLogFile), "nats an item"};
    report.pipeline = &pipeline_;
    report.scores = baselines_;
    report.scores.insert(report.scores.begin(), scores_);
    write_recommend_events(folder_, report);
    write_item_projector(folder_, config_, engine_->parameters(), pipeline_.sides.codes,
                         pipeline_.items);
    write_file(folder_ / run::kReportFile, recommend_report_html(report));
    write_file(folder_ / run::kCardFile, recommend_model_card(report));
    // Last: with this file the run counts as finished.
    write_file(folder_ / run::kMetricsFile, summary_.metrics_json);
  }

  static double main_score(const task::RecommendScores& scores) {
    return scores.value(fmt::format("ndcg@{}", kShown));
  }
  const task::RecommendScores& best_baseline() const {
    return *std::max_element(
        baselines_.begin(), baselines_.end(),
        [](const auto& a, const auto& b) { return main_score(a) < main_score(b); });
  }

  /// Who won, plainly.
  std::string headline() const {
    const double ours = main_score(scores_);
    const double theirs = main_score(best_baseline());
    return fmt::format("NDCG@{} {:.4f}; {} on the same split has {:.4f}: {}", kShown, ours,
                       best_baseline().name, theirs,
                       ours > theirs ? "the transformer wins" : "the transformer does not win");
  }

  std::string conclusion() const {
    const TrainResult& result = summary_.result;
    return fmt::format(
        "{}\n{}\ndone against overfitting: {}\nprotocol: {}\n{} steps in {}, stopped because of "
        "{}\n  recommend:   quern "
        "recommend {} --user {}\n",
        headline(), result.verdict.text, against_overfitting(options_, result), pipeline_.protocol,
        with_commas(result.steps), format_duration(result.seconds), name(result.stopped_because),
        shell_word(folder_.string()), shell_word(histories_.users.front()));
  }

  std::string metrics() const {
    const TrainResult& result = summary_.result;
    nlohmann::ordered_json json = metrics_head(request_, summary_, "recommend", "items_per_second");
    json["protocol"] = pipeline_.protocol;
    if (result.stopped_because != StopReason::kInterrupted) {
      json["train"] = {{"loss", result.train.loss}};
      json["validation"] = task::to_json(scores_);
      json["validation"]["loss"] = result.validation.loss;
    }
    json["baseline"] = task::to_json(best_baseline());
    json["baselines"] = nlohmann::ordered_json::array();
    for (const task::RecommendScores& baseline : baselines_)
      json["baselines"].push_back(task::to_json(baseline));
    return finish_metrics(std::move(json), options_, summary_, peak_flops_);
  }

  const TrainRequest& request_;
  Reporter& reporter_;
  fs::path folder_;
  OpenedRun opened_;
  run::Options& options_ = opened_.options;
  double peak_flops_ = 1;
  run::ItemPipeline pipeline_;
  features::Histories histories_;
  size_t learnt_ = 0;  // items of the training part; those after them have side columns alone
  task::ItemLog log_;
  task::TestedUsers tested_, validated_;
  model::ModelConfig config_;
  task::RecommendScores scores_;  // the model's, once it is trained
  std::vector<task::RecommendScores> baselines_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<task::ItemProblem> problem_;
  std::unique_ptr<Engine> engine_;
  TrainSummary summary_;
};

}  // namespace

TrainSummary train_recommend(const TrainRequest& request, Reporter& reporter) {
  return RecommendTraining(request, reporter).run();
}

}  // namespace quern::train
