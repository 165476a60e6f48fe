#include "quern/explain/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"
#include "quern/explain/diagnosis_verdicts.h"
#include "quern/explain/fold_answers.h"
#include "quern/explain/training_rows.h"
#include "quern/formats/json.h"
#include "quern/infer/row_predictor.h"
#include "quern/kernels/cuda/device_name.h"

namespace quern::explain {
namespace {

constexpr size_t kMostRows = 5000;  // of each side, evenly taken: more sharpens nothing

std::vector<size_t> thinned(const std::vector<size_t>& rows) {
  const size_t stride = std::max<size_t>(1, (rows.size() + kMostRows - 1) / kMostRows);
  std::vector<size_t> some;
  for (size_t i = 0; i < rows.size(); i += stride) some.push_back(rows[i]);
  return some;
}

run::RowRun load(const DiagnoseRequest& request) {
  run::RowRun run = run::load_row_run(request.run);
  run.parameters.use(request.gpu);
  return run;
}

/// What training said of its own curves; empty where it said nothing.
std::string training_verdict(const fs::path& folder) {
  const std::string where = (folder / run::kMetricsFile).string();
  const auto metrics =
      formats::parse_json(run::read_part(folder, run::kMetricsFile, "its scores"), where);
  if (!metrics.is_object()) {
    throw FormatError(fmt::format("'{}' holds no object of scores", where), "train the run again");
  }
  const auto verdict = metrics.find("verdict");
  return verdict != metrics.end() && verdict->is_string() ? verdict->get<std::string>() : "";
}

class Diagnosing {
 public:
  Diagnosing(const DiagnoseRequest& request, Reporter& reporter)
      : request_(request),
        reporter_(reporter),
        run_(load(request)),
        options_(run::options_of(request.run)),
        pool_(request.threads),
        predictor_(run_.config, run_.parameters, pool_) {}

  Diagnosis run() {
    result_.run = request_.run.string();
    result_.device = kernels::cuda::device_name(run_.parameters.gpu());
    result_.task = run_.pipeline.task;
    result_.target = run_.pipeline.target;
    result_.drift_limit = request_.drift_limit;
    read_training();
    look_at_overfitting();
    if (fresh_) {
      look_at_new_rows();
    } else {
      hold_out_a_fold();
      compare({&task_.table, held_out_});
    }
    if (request_.retrain_seconds > 0) {
      hold_out_a_fold();
      result_.retraining =
          retrain(task_, options_, request_.retrain_seconds, request_.gpu, reporter_);
    }
    judge(result_);
    return std::move(result_);
  }

 private:
  /// New rows in a database stand in the table that is named, else in one named as training's.
  std::string fresh_table() const {
    const bool database = std::ranges::all_of(request_.data, [](const fs::path& path) {
      return data::table_layout(path) == data::TableLayout::kSqlite;
    });
    return std::string(request_.table.empty() && database ? options_.text("data.table")
                                                          : std::string_view(request_.table));
  }

  void read_training() {
    // Given as new data, the training data is itself.
    if (!request_.data.empty()) {
      fresh_ = data::read_table(request_.data, {.table = fresh_table()}, reporter_);
      if (fresh_->fingerprint() == run_.pipeline.record.data_fingerprint) {
        reporter_.note("this is the data that the run learned from: its held-out rows are judged");
        fresh_.reset();
      }
    }
    const bool given = !request_.data.empty() && !fresh_;
    task_ = explain::read_training(run_, options_,
                                   given                       ? request_.data
                                   : request_.training.empty() ? training_paths(run_)
                                                               : request_.training);
    const bool test = !task_.split.test.empty();
    result_.held_out = test ? "test" : "validation";
    held_out_ = test ? task_.split.test : task_.split.validation;
  }

  /// Of several folds the first from now on counts as held out, as in the first copy's training.
  void hold_out_a_fold() {
    if (task_.split.folds.empty()) return;
    data::RowSplit& split = task_.split;
    const std::vector<size_t> all = std::exchange(split.train, {});
    for (size_t i = 0; i < all.size(); ++i)
      (split.folds[i] == 0 ? split.validation : split.train).push_back(all[i]);
    split.folds.clear();
    if (split.test.empty()) held_out_ = split.validation;
  }

  task::RowAnswers answers(const data::Table& table, std::vector<size_t>& rows) {
    task::RowAnswers answers;
    answers.targets = task::read_targets(table, run_.pipeline, rows);
    answers.answers =
        predictor_.predict(task::make_row_inputs(run_.pipeline.columns.encode(table, rows), run_),
                           run_.pipeline.temperature);
    return answers;
  }

  void look_at_overfitting() {
    reporter_.progress("answering training rows and rows held out");
    FoldAnswers rows;
    if (!task_.split.folds.empty() && task_.split.test.empty()) {
      rows = answer_folds(run_, task_, options_, pool_);
    } else {
      std::vector<size_t> train = thinned(task_.split.train), held_out = thinned(held_out_);
      rows = {answers(task_.table, train), answers(task_.table, held_out)};
    }
    const auto& [known, unseen] = rows;
    result_.membership = membership(row_losses(run_.pipeline, known),
                                    row_losses(run_.pipeline, unseen), request_.seed);
    if (run::is_finished(request_.run)) {
      result_.training_verdict = training_verdict(request_.run);
    }
    if (!fresh_) calibrate(unseen, fmt::format("{} rows", result_.held_out));
  }

  void look_at_new_rows() {
    std::vector<size_t> all(fresh_->rows());
    std::iota(all.begin(), all.end(), size_t{0});
    if (fresh_->find(run_.pipeline.target) >= 0) {
      std::vector<size_t> some = thinned(all);
      const task::RowAnswers answered = answers(*fresh_, some);
      if (some.size() > 1) calibrate(answered, "new rows");
    }
    // Throws where a column is missing, before it is compared.
    static_cast<void>(run_.pipeline.columns.encode(*fresh_, std::span(all).first(1)));
    compare({&*fresh_, all});
  }

  void calibrate(const task::RowAnswers& rows, std::string of) {
    Calibration calibration;
    calibration.of = std::move(of);
    const run::RowPipeline& p = run_.pipeline;
    if (p.task == "regress") {
      const task::OwnUnits units = task::own_units(p, rows);
      calibration.rows = units.targets.size();
      calibration.coverage = metrics::bootstrap(
          units.targets.size(),
          [&](std::span<const float> counts) {
            double held = 0, all = 0;
            for (size_t i = 0; i < units.targets.size(); ++i) {
              all += static_cast<double>(counts[i]);
              const bool inside = std::abs(units.predictions[i] - units.targets[i]) <= p.interval;
              held += inside ? static_cast<double>(counts[i]) : 0;
            }
            return held / all;
          },
          request_.seed);
    } else {
      const metrics::Classified view = task::classified(p, rows);
      calibration.rows = view.rows();
      for (const metrics::Score& score : metrics::score_classes(view, request_.seed)) {
        if (score.name == "log_loss" || score.name == "brier" || score.name == "ece") {
          calibration.scores.push_back(score);
        }
      }
      calibration.temperature = p.temperature;
      calibration.temperature_left = metrics::fit_temperature(view);
      const size_t of_class = p.positive >= 0 ? static_cast<size_t>(p.positive) : 0;
      calibration.bins = metrics::reliability(view, of_class);
      calibration.bins_of = p.classes[of_class];
    }
    result_.calibration = std::move(calibration);
  }

  void compare(const RowsOf& rows) {
    reporter_.progress("comparing columns");
    const RowsOf training{&task_.table, task_.split.train};
    result_.compared = fresh_ ? "new rows" : fmt::format("{} rows", result_.held_out);
    result_.leakage = overlap(run_.pipeline.columns.columns(), training, rows);
    result_.drift = column_drift(run_.pipeline.columns, training, rows, request_.drift_limit);
  }

  const DiagnoseRequest& request_;
  Reporter& reporter_;
  run::RowRun run_;
  run::Options options_;
  ThreadPool pool_;
  infer::RowPredictor predictor_;
  task::TableTask task_;
  std::optional<data::Table> fresh_;
  std::vector<size_t> held_out_;
  Diagnosis result_;
};

}  // namespace

bool Diagnosis::drifted() const {
  return compared == "new rows" &&
         std::ranges::any_of(drift, [](const ColumnDrift& one) { return one.drifted; });
}

std::string_view name(Overfit verdict) {
  switch (verdict) {
    case Overfit::kNone:
      return "none";
    case Overfit::kSlight:
      return "slight";
    case Overfit::kOverfits:
      break;
  }
  return "overfits";
}

Diagnosis diagnose(const DiagnoseRequest& request, Reporter& reporter) {
  return Diagnosing(request, reporter).run();
}

}  // namespace quern::explain
