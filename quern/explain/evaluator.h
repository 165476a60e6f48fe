#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "quern/explain/attribution.h"
#include "quern/explain/evaluation_progress.h"
#include "quern/explain/game.h"

namespace quern::explain {

/// Throws Error("not_finite") where the value of a coalition is none.
void require_finite(const Coalitions& coalitions, std::span<const double> values);

/// Where no limit is given, as shap's KernelExplainer has it.
inline size_t usual_evaluations(size_t players) { return 2 * players + 2048; }

/// Asks a game in batches, counts the evaluations and refuses values that are not finite. The
/// values of nobody (in each case) and of everybody are asked once, at the start.
class Evaluator {
 public:
  static constexpr size_t kBatch = 256;  // coalitions asked at a time

  /// `max_evaluations` 0: usual_evaluations. Long work is told to `reporter`, where there is one.
  Evaluator(Game& game, size_t max_evaluations, Reporter* reporter = nullptr);

  size_t players() const { return players_; }
  double base() const { return base_; }
  double value() const { return value_; }
  size_t used() const { return used_; }
  /// Evaluations left; none once a signal asked the work to end.
  size_t left() const;

  std::vector<double> operator()(const Coalitions& coalitions);

  size_t cases() const { return game_.cases(); }
  /// (cases): the value of nobody in each.
  std::span<const double> case_bases() const { return case_bases_; }
  /// The value of each coalition in the case that is named; cases() of them count as one
  /// evaluation.
  std::vector<double> in_cases(const Coalitions& coalitions, std::span<const size_t> case_of);

  /// An attribution with what this knows, phi and errors zero.
  Attribution start() const;

 private:
  void count(const Coalitions& coalitions, std::span<const double> values, size_t evaluations);

  Game& game_;
  size_t players_, limit_, used_ = 0, used_cases_ = 0;
  std::vector<double> case_bases_;
  double base_ = 0, value_ = 0;
  EvaluationProgress progress_;
};

}  // namespace quern::explain
