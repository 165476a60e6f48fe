#include "quern/train/row_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/train/row_errors.h"

namespace quern::train {
namespace {

constexpr size_t kMostCurves = 10, kErrors = 12, kSamples = 12;

void write_scores(formats::EventWriter& events, int64_t step,
                  const std::vector<metrics::Score>& scores, const std::string& prefix) {
  for (const metrics::Score& score : scores) {
    if (std::isfinite(score.interval.value))
      events.scalar(prefix + score.name, step, score.interval.value);
  }
}

void write_curves(formats::EventWriter& events, int64_t step, const RowReport& r) {
  const run::RowPipeline& p = *r.pipeline;
  const metrics::Classified c = task::classified(p, *r.rows);
  for (size_t of = 0; of < std::min(p.classes.size(), kMostCurves); ++of) {
    if (p.positive >= 0 && of != static_cast<size_t>(p.positive)) continue;
    events.pr_curve("precision_recall/" + p.classes[of], step, pr_points(c, of));
  }
}

/// The first rows of the part, and the worst errors, each once.
std::vector<JudgedRow> rows_to_show(const RowReport& r) {
  const std::vector<JudgedRow> judged = judge_rows(r);
  std::vector<JudgedRow> out = worst_errors(judged, kErrors);
  const size_t errors = out.size();
  for (size_t i = 0; i < judged.size() && out.size() < errors + kSamples; ++i) {
    const auto same = [&](const JudgedRow& row) { return row.row == judged[i].row; };
    if (std::none_of(out.begin(), out.end(), same)) out.push_back(judged[i]);
  }
  return out;
}

void write_pictures(formats::EventWriter& events, int64_t step, const RowReport& r) {
  size_t number = 0;
  for (const JudgedRow& row : rows_to_show(r)) {
    const formats::PixelView picture = picture_of(r, row.row);
    const std::string png = formats::encode_png(picture);
    // TensorBoard shows the tag above the picture.
    events.images(fmt::format("predictions/{:02d} {}: says {}", ++number, row.stands, row.says),
                  step, picture.height, picture.width, std::span(&png, 1));
  }
}

void write_table(formats::EventWriter& events, int64_t step, const RowReport& r) {
  report::Rows rows;
  for (const JudgedRow& row : rows_to_show(r))
    rows.push_back({row.stands, row.says, row_words(r, row.row)});
  events.text("predictions", step, report::markdown_table({"stands", "says", "what"}, rows));
}

}  // namespace

std::vector<formats::PrPoint> pr_points(const metrics::Classified& c, size_t of,
                                        size_t thresholds) {
  std::vector<double> hits(thresholds + 1), others(thresholds + 1);
  for (size_t row = 0; row < c.rows(); ++row) {
    const double p = static_cast<double>(c.probabilities[row * c.classes + of]);
    const auto bucket = static_cast<size_t>(std::floor(p * static_cast<double>(thresholds - 1)));
    (static_cast<size_t>(c.labels[row]) == of ? hits : others)[std::min(bucket, thresholds - 1)] +=
        1;
  }
  // From the highest threshold down: rows at or above it.
  for (size_t i = thresholds; i-- > 0;) {
    hits[i] += hits[i + 1];
    others[i] += others[i + 1];
  }
  std::vector<formats::PrPoint> points(thresholds);
  for (size_t i = 0; i < thresholds; ++i)
    points[i] = {hits[i], others[i], others[0] - others[i], hits[0] - hits[i]};
  return points;
}

std::vector<std::pair<std::string, double>> evaluation_scores(const run::RowPipeline& pipeline,
                                                              const task::RowsProblem& problem,
                                                              const task::RowTargets& targets) {
  const task::RowsProblem::Evaluated& evaluated = problem.evaluated();
  task::RowAnswers rows;
  rows.answers = evaluated.answers;
  for (const int64_t row : evaluated.rows) {
    const auto at = static_cast<size_t>(row);
    if (!targets.classes.empty()) rows.targets.classes.push_back(targets.classes[at]);
    if (!targets.values.empty()) rows.targets.values.push_back(targets.values[at]);
  }
  if (pipeline.task == "classify") {
    const metrics::Classified c = task::classified(pipeline, rows);
    return {{"accuracy", metrics::accuracy(c)}, {"auc", metrics::roc_auc(c)}};
  }
  const task::OwnUnits units = task::own_units(pipeline, rows);
  return {{"rmse", metrics::rmse(units.view())},
          {"mae", metrics::mean_absolute_error(units.view())}};
}

void write_row_events(const fs::path& folder, const RowReport& r) {
  formats::EventWriter events(folder);
  const int64_t step = r.run.result->best_step;
  write_scores(events, step, r.scores, "final/");
  for (const ScoredBaseline& baseline : r.baselines)
    write_scores(events, step, baseline.scores, "baseline/" + baseline.name + "/");
  if (r.pipeline->task == "classify") write_curves(events, step, r);
  if (r.inputs != nullptr && r.inputs->picture.present()) {
    write_pictures(events, step, r);
  } else {
    write_table(events, step, r);
  }
  events.flush();
}

void write_recommend_events(const fs::path& folder, const RecommendReport& r) {
  formats::EventWriter events(folder);
  const int64_t step = r.run.result->best_step;
  for (const task::RecommendScores& method : r.scores) {
    const std::string prefix =
        &method == &r.scores.front() ? "final/" : "baseline/" + method.name + "/";
    write_scores(events, step, method.unseen.empty() ? method.all : method.unseen, prefix);
  }
  events.flush();
}

}  // namespace quern::train
