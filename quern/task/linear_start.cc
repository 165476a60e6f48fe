#include "quern/task/linear_start.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quern/metrics/classification.h"
#include "quern/metrics/linear_baseline.h"
#include "quern/metrics/softmax.h"

namespace quern::task {
namespace {

using features::LinearKind;
using features::SparseRows;
using metrics::LinearBaseline;

struct Candidate {
  LinearKind kind = LinearKind::kPlain;
  bool margins = false;  // a support vector machine
  double penalty = 1;    // its cost is 1 / penalty
};

std::vector<Candidate> candidates(const run::RowPipeline& pipeline,
                                  const features::EncodedRows& rows) {
  std::vector<Candidate> all;
  if (!rows.texts.empty() && pipeline.task == "classify") {
    for (const double penalty : {8.0, 2.0, 0.5}) all.push_back({LinearKind::kRich, true, penalty});
    return all;
  }
  for (const LinearKind kind : {LinearKind::kPlain, LinearKind::kRich})
    for (const double penalty : {10.0, 1.0, 0.1}) all.push_back({kind, false, penalty});
  return all;
}

/// Scores as probabilities, row by row.
std::vector<float> softmax(std::span<const float> scores, size_t classes) {
  std::vector<float> out(scores.begin(), scores.end());
  for (size_t begin = 0; begin < out.size(); begin += classes) {
    metrics::softmax(std::span(out).subspan(begin, classes));
  }
  return out;
}

class StartFitter {
 public:
  StartFitter(const run::RowPipeline& pipeline, const features::EncodedRows& rows,
              const RowTargets& targets, std::span<const uint32_t> folds, uint32_t count,
              ThreadPool& pool, bool keep_folds)
      : pipeline_(pipeline),
        rows_(rows),
        targets_(targets),
        folds_(folds),
        count_(count),
        pool_(pool),
        keep_folds_(keep_folds),
        classify_(pipeline.task == "classify"),
        outputs_(classify_ ? pipeline.classes.size() : 1) {}

  LinearStart fit() {
    const std::vector<Candidate> all = candidates(pipeline_, rows_);
    // Where rows are many, one fold tells the candidates apart.
    constexpr size_t kMany = 5000;
    const uint32_t compared = folds_.size() > kMany ? 1 : count_;
    std::vector<double> losses(all.size());
    for (const LinearKind kind : {LinearKind::kPlain, LinearKind::kRich}) prepare(kind, all);
    std::vector<std::vector<float>> scores(all.size());
    const auto count = static_cast<size_t>(rows_.rows) * outputs_;
    for (std::vector<float>& one : scores) one.assign(count, 0.0F);
    pool_.parallel_for(all.size() * compared, [&](size_t index, int) {
      const size_t which = index / compared;
      score_fold(all[which], static_cast<uint32_t>(index % compared), scores[which]);
    });
    size_t best = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      losses[i] = loss(all[i], scores[i], compared);
      if (losses[i] < losses[best]) best = i;
    }
    LinearStart start;
    const Candidate chosen = all[best];
    start.scores = std::move(scores[best]);
    // What the comparison fitted is gone: to keep it, it is fitted again.
    const uint32_t first = keep_folds_ ? 0 : compared;
    std::vector<std::vector<float>> weights(count_ + 1);  // without each fold, and of all
    pool_.parallel_for(weights.size() - first, [&](size_t index, int) {
      const uint32_t fold = first + static_cast<uint32_t>(index);
      const LinearBaseline model = score_fold(chosen, fold, start.scores);
      for (const double weight : model.weights())
        weights[fold].push_back(static_cast<float>(weight));
    });
    start.score.features = features_[static_cast<size_t>(chosen.kind)];
    start.score.outputs = static_cast<int64_t>(outputs_);
    start.score.weights = std::move(weights.back());
    if (keep_folds_) {
      weights.pop_back();
      start.fold_of.assign(folds_.begin(), folds_.end());
      start.fold_weights = std::move(weights);
    }
    calibrate(start);
    start.how = fmt::format("{}, {} features, penalty {:g}",
                            chosen.margins ? "support vector machines"
                            : classify_    ? "logistic regression"
                                           : "ridge regression",
                            start.score.features.width(), chosen.penalty);
    return start;
  }

 private:
  void prepare(LinearKind kind, const std::vector<Candidate>& all) {
    if (std::none_of(all.begin(), all.end(), [&](const Candidate& c) { return c.kind == kind; }))
      return;
    auto& features = features_[static_cast<size_t>(kind)];
    std::vector<std::string> texts;
    for (size_t row = 0; row < rows_.texts.size(); ++row)
      if (folds_[row] < count_) texts.push_back(rows_.texts[row]);
    features = features::LinearFeatures::fit(pipeline_.columns, texts, kind);
    sparse_[static_cast<size_t>(kind)] = features.rows(pipeline_.columns, rows_);
  }

  const SparseRows& rows_of(LinearKind kind) const { return sparse_[static_cast<size_t>(kind)]; }

  LinearBaseline fit_one(const Candidate& candidate, const SparseRows& rows,
                         const RowTargets& targets) const {
    constexpr int kIterations = 200;
    if (candidate.margins)
      return LinearBaseline::support_vectors(rows, targets.classes, outputs_,
                                             1 / candidate.penalty);
    if (classify_)
      return LinearBaseline::classifier(rows, targets.classes, outputs_, kIterations,
                                        candidate.penalty);
    return LinearBaseline::regression(rows, targets.values, kIterations, candidate.penalty);
  }

  /// Fits on the learnt rows outside the fold and scores those inside.
  LinearBaseline score_fold(const Candidate& candidate, uint32_t fold,
                            std::vector<float>& scores) const {
    std::vector<size_t> inside;
    std::vector<size_t> outside;
    RowTargets learnt;
    for (size_t row = 0; row < static_cast<size_t>(rows_.rows); ++row) {
      if (folds_[row] == fold) {
        inside.push_back(row);
      } else if (folds_[row] < count_) {
        outside.push_back(row);
        if (classify_) {
          learnt.classes.push_back(targets_.classes[row]);
        } else {
          learnt.values.push_back(targets_.values[row]);
        }
      }
    }
    const SparseRows& rows = rows_of(candidate.kind);
    LinearBaseline model = fit_one(candidate, rows.select(outside), learnt);
    const std::vector<float> said = model.scores(rows.select(inside));
    for (size_t i = 0; i < inside.size(); ++i) {
      std::copy_n(said.begin() + static_cast<ptrdiff_t>(i * outputs_), outputs_,
                  scores.begin() + static_cast<ptrdiff_t>(inside[i] * outputs_));
    }
    return model;
  }

  /// Of the rows of the first `compared` folds: log loss at the best temperature, or squared error.
  double loss(const Candidate& candidate, const std::vector<float>& scores,
              uint32_t compared) const {
    std::vector<float> answers;
    std::vector<int32_t> labels;
    double squares = 0;
    for (size_t row = 0; row < folds_.size(); ++row) {
      if (folds_[row] >= compared) continue;
      const auto at = scores.begin() + static_cast<ptrdiff_t>(row * outputs_);
      if (!classify_) {
        squares += std::pow(static_cast<double>(*at - targets_.values[row]), 2);
        continue;
      }
      answers.insert(answers.end(), at, at + static_cast<ptrdiff_t>(outputs_));
      labels.push_back(targets_.classes[row]);
    }
    if (!classify_) return squares;
    std::vector<float> probabilities = softmax(answers, outputs_);
    metrics::Classified view{probabilities, labels, outputs_};
    if (candidate.margins) {
      const double temperature = metrics::fit_temperature(view);
      for (float& answer : answers) answer /= static_cast<float>(temperature);
      probabilities = softmax(answers, outputs_);
      view.probabilities = probabilities;
    }
    return metrics::log_loss(view);
  }

  /// Scales scores so that they are logits of honest probabilities.
  void calibrate(LinearStart& start) const {
    if (!classify_) return;
    std::vector<float> learnt;
    std::vector<int32_t> labels;
    for (size_t row = 0; row < folds_.size(); ++row) {
      if (folds_[row] == count_) continue;
      const auto at = start.scores.begin() + static_cast<ptrdiff_t>(row * outputs_);
      learnt.insert(learnt.end(), at, at + static_cast<ptrdiff_t>(outputs_));
      labels.push_back(targets_.classes[row]);
    }
    const std::vector<float> probabilities = softmax(learnt, outputs_);
    const auto scale =
        static_cast<float>(1 / metrics::fit_temperature({probabilities, labels, outputs_}));
    for (float& score : start.scores) score *= scale;
    for (float& weight : start.score.weights) weight *= scale;
    for (std::vector<float>& weights : start.fold_weights)
      for (float& weight : weights) weight *= scale;
  }

  const run::RowPipeline& pipeline_;
  const features::EncodedRows& rows_;
  const RowTargets& targets_;
  std::span<const uint32_t> folds_;
  uint32_t count_;
  ThreadPool& pool_;
  bool keep_folds_;
  bool classify_;
  size_t outputs_;
  features::LinearFeatures features_[2];
  SparseRows sparse_[2];
};

}  // namespace

std::vector<float> LinearStart::scores_like(size_t row, const features::ColumnEncoder& columns,
                                            const features::EncodedRows& rows) const {
  const uint32_t fold = fold_of.at(row);
  return features::linear_scores(score.features.rows(columns, rows),
                                 fold < fold_weights.size() ? fold_weights[fold] : score.weights,
                                 score.outputs);
}

LinearStart fit_linear_start(const run::RowPipeline& pipeline, const features::EncodedRows& rows,
                             const RowTargets& targets, std::span<const uint32_t> folds,
                             uint32_t count, ThreadPool& pool, bool keep_folds) {
  return StartFitter(pipeline, rows, targets, folds, count, pool, keep_folds).fit();
}

}  // namespace quern::task
