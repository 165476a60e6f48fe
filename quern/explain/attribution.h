#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quern/metrics/interval.h"

namespace quern::explain {

/// The linear model whose coefficients are given, where a method answers with one.
struct LocalModel {
  double value = 0;      // its answer to the input itself
  double r_squared = 0;  // weighted, around the input
  size_t samples = 0;
  bool stable = false;  // the order of the leading coefficients is clear of sampling error
};

/// What each player of a game contributes: base + Σ phi is the value, up to the completeness error.
struct Attribution {
  std::string method;          // "exact", "permutation", …
  std::string reason;          // why this method
  std::string note;            // what limits the answer; empty where nothing does
  double base = 0, value = 0;  // of nobody and of everybody
  std::string base_is = "with every part hidden";  // for people
  std::vector<double> phi;                         // (players), in the units of the value
  std::vector<double> standard_errors;             // (players), 0 where nothing was sampled
  std::vector<double> margins;                     // (players), half the width of the 95 % interval
  uint64_t seed = 0;
  size_t evaluations = 0;           // of the game
  bool exact = false;               // phi are the values sought, up to rounding
  bool converged = true;            // every margin is within the tolerance asked for
  std::optional<LocalModel> local;  // of LIME: base is its intercept, phi its coefficients

  /// |value - base - Σ phi|.
  double completeness_error() const;
  /// phi with its 95 % interval.
  metrics::Interval interval(size_t player) const;
  /// The players by falling |phi|, equal ones in their own order.
  std::vector<size_t> ranking() const;
};

/// The half width of a two-sided 95 % interval in standard errors, for an error estimated with so
/// many degrees of freedom (> 0): the .975 quantile of Student's t, to five digits (Hill 1970,
/// "Algorithm 396").
double student_t975(double degrees_of_freedom);

}  // namespace quern::explain
