#include "quern/train/train_recommend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "quern/base/error.h"
#include "quern/data/number.h"
#include "quern/data/table_reader.h"
#include "quern/infer/item_ranker.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/metrics/recommendation.h"
#include "quern/run/defaults.h"
#include "quern/run/item_run.h"
#include "quern/task/recommend.h"
#include "quern/train/experiment_log.h"
#include "quern/train/recommend_report.h"
#include "quern/train/run_loop.h"

namespace quern::train {
namespace {

constexpr uint32_t kShown = 10;  // the k of the scores

/// Fills scores (items + 1) for the i-th tested user.
using ScoreUser = std::function<void(size_t, std::span<float>)>;

double value_of(const std::vector<metrics::Score>& scores, std::string_view name) {
  for (const metrics::Score& score : scores)
    if (score.name == name) return score.interval.value;
  return 0;
}

/// The tested users: what they took before, and what they took then.
struct Tested {
  std::vector<std::vector<uint32_t>> histories;
  std::vector<uint32_t> items;  // 0: training never saw it
  std::vector<bool> new_to_user;
};

/// Ranks the held-out item of each user, with and without what the user has seen.
class RankKeeper {
 public:
  explicit RankKeeper(const Tested& tested) : tested_(tested) {}

  void take(size_t user, std::span<float> scores) {
    const uint32_t item = tested_.items[user];
    all_.push_back(metrics::rank_of(scores, item));
    if (!tested_.new_to_user[user]) return;
    for (const uint32_t seen : tested_.histories[user])
      scores[seen] = -std::numeric_limits<float>::infinity();
    unseen_.push_back(metrics::rank_of(scores, item));
  }
  RecommendScores scores(std::string name, uint64_t seed) const {
    return {std::move(name), metrics::score_ranks(unseen_, kShown, seed),
            metrics::score_ranks(all_, kShown, seed)};
  }

 private:
  const Tested& tested_;
  std::vector<uint32_t> all_, unseen_;
};

nlohmann::ordered_json to_json(const std::vector<metrics::Score>& scores) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const metrics::Score& score : scores) json[score.name] = score.interval.value;
  return json;
}

nlohmann::ordered_json to_json(const RecommendScores& scores) {
  nlohmann::ordered_json json = to_json(scores.unseen.empty() ? scores.all : scores.unseen);
  json["name"] = scores.name;
  json["with_repeats"] = to_json(scores.all);
  return json;
}

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
    if (root() && summary_.result.stopped_because != StopReason::kInterrupted) finish();
    return summary_;
  }

 private:
  /// Whether this process writes the run folder and judges what came of it.
  bool root() const { return request_.ranks->root(); }

  uint64_t seed() const { return static_cast<uint64_t>(options_.integer("seed")); }

  features::HistorySplit split(const data::Interactions& log) const {
    const std::string_view mode = options_.text("data.split");
    if (mode != "auto" && mode != "last" && mode != "time") {
      throw UsageError("bad_value", fmt::format("data.split = {} divides no log of users", mode),
                       "give last (each user's last item) or time (one moment for all)");
    }
    const auto share = data::parse_number(options_.text("data.validation"));
    if (!share || *share <= 0 || *share >= 1) {
      throw UsageError("bad_value",
                       fmt::format("data.validation = {} is no share between 0 and 1",
                                   options_.text("data.validation")),
                       "give a fraction, as 0.1");
    }
    return features::split_histories(log, mode == "time", *share);
  }

  void read_log_of_users() {
    const data::Table table = data::read_table(request_.data, {}, reporter_);
    const data::Interactions log = data::read_interactions(
        table,
        {std::string(options_.text("data.user")), std::string(options_.text("data.item")),
         std::string(options_.text("data.time"))},
        reporter_);
    data::require_learnable(log);
    features::HistorySplit parts = split(log);
    pipeline_.columns = log.columns;
    pipeline_.items = features::make_vocabulary(log, parts);
    log_ = task::make_item_log(log, std::move(parts), pipeline_.items);
    for (size_t user = 0; user < log.users.size(); ++user) {
      histories_.users.push_back(log.users[user]);
      histories_.items.push_back(features::known_tail(log_.ids[user], log_.ids[user].size()));
    }
    find_tested();
    record(log);
  }

  void find_tested() {
    for (size_t user = 0; user < log_.ids.size(); ++user) {
      const int64_t place = log_.split.parts[user].test;
      if (place < 0) continue;
      const auto before = log_.before(user, place);
      const uint32_t item = log_.ids[user][static_cast<size_t>(place)];
      tested_.histories.push_back(features::known_tail(before, before.size()));
      tested_.items.push_back(item);
      // An item that training never saw is new, but for a user who took it as the validation item.
      tested_.new_to_user.push_back(std::find(before.begin(), before.end(), item) == before.end());
    }
  }

  void record(const data::Interactions& log) {
    const auto fresh = static_cast<size_t>(
        std::count(tested_.new_to_user.begin(), tested_.new_to_user.end(), true));
    pipeline_.protocol = fmt::format(
        "{}; seen items are left out for the {} users whose test item is new to them ({} took it "
        "before: it cannot be found then; the second table ranks everything for all)",
        log_.split.protocol, fresh, tested_.items.size() - fresh);
    pipeline_.record.task = "recommend";
    pipeline_.record.data_fingerprint = log.fingerprint;
    pipeline_.record.split = {{"mode", options_.text("data.split") == "time" ? "time" : "last"}};
    pipeline_.record.counts = {{"users", log.users.size()},
                               {"items", pipeline_.items.size()},
                               {"interactions", log.item_of.size()},
                               {"tested_users", tested_.items.size()},
                               {"tested_users_new_item", fresh}};
    reporter_.note(fmt::format("log: {} users, {} items ({} in the training part), {} interactions",
                               with_commas(static_cast<int64_t>(log.users.size())),
                               with_commas(static_cast<int64_t>(log.items.size())),
                               with_commas(static_cast<int64_t>(pipeline_.items.size())),
                               with_commas(static_cast<int64_t>(log.item_of.size()))));
    reporter_.note("protocol: " + pipeline_.protocol);
  }

  void decide() {
    std::vector<uint64_t> lengths;
    for (const auto& ids : log_.ids) lengths.push_back(ids.size());
    std::sort(lengths.begin(), lengths.end());
    run::LogFacts facts;
    facts.items = pipeline_.items.size();
    facts.typical_length = lengths[lengths.size() / 2];
    run::decide_recommend(options_, facts);
    for (const auto& [key, flag] : std::initializer_list<std::pair<const char*, const char*>>{
             {"model.preset", "--preset"},
             {"model.size", "--size"},
             {"model.context", "--set model.context="},
             {"train.time", "--time"}}) {
      if (options_.is_explicit(key) || options_.text(key).empty()) continue;
      reporter_.note(fmt::format("{}: {} ({}; override with {})", key, options_.text(key),
                                 options_.who(key), flag));
    }
  }

  void prepare() {
    config_ = run::model_config(options_, static_cast<int64_t>(pipeline_.items.size()) + 1);
    EngineOptions engine = engine_options(options_);
    problem_ = std::make_unique<task::ItemProblem>(
        config_, log_, options_.number("regularise.token_dropout"), seed());
    const MemoryNeed need = fit_memory(*problem_, engine, options_, *request_.ranks, reporter_);
    peak_flops_ = 1e9 * kernels::cpu::measure_gflops({*pool_}, false);
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

  RecommendScores score(std::string name, const ScoreUser& method) const {
    RankKeeper keeper(tested_);
    std::vector<float> scores(pipeline_.items.size() + 1);
    for (size_t user = 0; user < tested_.items.size(); ++user) {
      method(user, scores);
      keeper.take(user, scores);
    }
    return keeper.scores(std::move(name), seed());
  }

  /// Before training, so that the time it takes is known when the steps are planned. They learn
  /// from what training learns from, and see the history that the model sees.
  void score_baselines() {
    reporter_.progress("scoring the baselines");
    const features::ItemVocabulary& items = pipeline_.items;
    scores_.push_back(score("popularity", [&](size_t, std::span<float> scores) {
      for (uint32_t id = 1; id < scores.size(); ++id)
        scores[id] = static_cast<float>(items.count(id));
    }));
    std::vector<std::span<const uint32_t>> trained;
    for (size_t user = 0; user < log_.ids.size(); ++user)
      trained.push_back(log_.before(user, log_.split.parts[user].train_end));
    const metrics::ItemNeighbours near(trained, static_cast<uint32_t>(items.size()));
    scores_.push_back(score("item-item", [&](size_t user, std::span<float> scores) {
      near.score(tested_.histories[user], scores);
    }));
  }

  void train_model() {
    TrainerOptions options = trainer_options(options_);
    options.peak_flops = peak_flops_;
    options.fingerprint = options_fingerprint(options_, pipeline_.record);
    options.finish_seconds = 3;
    summary_.result = run_loop(*engine_, {&request_, &opened_, options}, reporter_);
    if (root()) run::save_model(folder_, config_, engine_->parameters());
  }

  void finish() {
    infer::ItemRanker ranker(config_, engine_->parameters(), *pool_);
    RankKeeper keeper(tested_);
    ranker.rank(tested_.histories,
                [&](size_t user, std::span<float> scores) { keeper.take(user, scores); });
    scores_.insert(scores_.begin(), keeper.scores("transformer", seed()));
    summary_.metrics_json = metrics();
    summary_.conclusion = conclusion();
    RecommendReport report;
    report.name = folder_.filename().string();
    report.headline = headline();
    report.options = &options_;
    report.pipeline = &pipeline_;
    report.result = &summary_.result;
    report.parameters = summary_.parameters;
    report.scores = scores_;
    report.losses = read_log(folder_ / run::kLogFile);
    write_file(folder_ / run::kReportFile, recommend_report_html(report));
    write_file(folder_ / run::kCardFile, recommend_model_card(report));
    // Last: with this file the run counts as finished.
    write_file(folder_ / run::kMetricsFile, summary_.metrics_json);
  }

  static double main_score(const RecommendScores& scores) {
    return value_of(scores.unseen.empty() ? scores.all : scores.unseen,
                    fmt::format("ndcg@{}", kShown));
  }
  const RecommendScores& best_baseline() const {
    return *std::max_element(scores_.begin() + 1, scores_.end(), [](const auto& a, const auto& b) {
      return main_score(a) < main_score(b);
    });
  }

  /// Who won, plainly.
  std::string headline() const {
    const double ours = main_score(scores_.front());
    const double theirs = main_score(best_baseline());
    return fmt::format("NDCG@{} {:.4f}; {} on the same split has {:.4f}: {}", kShown, ours,
                       best_baseline().name, theirs,
                       ours > theirs ? "the transformer wins" : "the transformer does not win");
  }

  std::string conclusion() const {
    const TrainResult& result = summary_.result;
    return fmt::format(
        "{}\n{}\nprotocol: {}\n{} steps in {}, stopped because of {}\n  recommend:   quern "
        "recommend {} --user {}\n",
        headline(), result.verdict.text, pipeline_.protocol, with_commas(result.steps),
        format_duration(result.seconds), name(result.stopped_because), folder_.string(),
        histories_.users.front());
  }

  std::string metrics() const {
    const TrainResult& result = summary_.result;
    nlohmann::ordered_json validation = to_json(scores_.front());
    validation["loss"] = result.validation.loss;
    nlohmann::ordered_json baselines = nlohmann::ordered_json::array();
    for (size_t i = 1; i < scores_.size(); ++i) baselines.push_back(to_json(scores_[i]));
    const nlohmann::ordered_json json{{"run", folder_.string()},
                                      {"task", "recommend"},
                                      {"device", "cpu"},
                                      {"ranks", request_.ranks->size()},
                                      {"ranks", request_.ranks->size()},
                                      {"parameters", summary_.parameters},
                                      {"steps", result.steps},
                                      {"seconds", result.seconds},
                                      {"best_step", result.best_step},
                                      {"stopped_because", name(result.stopped_because)},
                                      {"items_per_second", result.tokens_per_second},
                                      {"protocol", pipeline_.protocol},
                                      {"train", {{"loss", result.train.loss}}},
                                      {"validation", validation},
                                      {"baseline", to_json(best_baseline())},
                                      {"baselines", baselines},
                                      {"verdict", result.verdict.text},
                                      {"gap", result.verdict.gap},
                                      {"planned_bytes", summary_.planned_bytes},
                                      {"allocated_bytes", summary_.allocated_bytes}};
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }

  const TrainRequest& request_;
  Reporter& reporter_;
  fs::path folder_;
  OpenedRun opened_;
  run::Options& options_ = opened_.options;
  double peak_flops_ = 1;
  run::ItemPipeline pipeline_;
  features::Histories histories_;
  task::ItemLog log_;
  Tested tested_;
  model::ModelConfig config_;
  std::vector<RecommendScores> scores_;  // the model's first, once there
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
