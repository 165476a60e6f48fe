#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "quern/explain/attribution.h"
#include "quern/explain/estimate.h"
#include "quern/explain/game.h"

namespace quern::explain {

/// A linear model of the answers near one input (Ribeiro, Singh & Guestrin 2016): weighted ridge
/// regression on which parts are unchanged.
struct LimeFit {
  std::vector<double> coefficients;     // (parts): what showing a part adds
  std::vector<double> standard_errors;  // (parts), from the residuals, robust to their spread
  std::vector<double> margins;          // (parts), half the width of the 95 % interval
  double intercept = 0;
  double value = 0;        // the model's answer for the input itself
  double local_value = 0;  // the linear model's
  double r_squared = 0;    // weighted, of the linear model around the input
  size_t samples = 0;
  bool stable = false;  // the order of the leading parts is clear of sampling error
};

struct LimeOptions {
  uint64_t seed = 1;
  size_t samples = 0;  // at most; 0: 5,000 for texts and rows, 1,000 for pictures
  double ridge = 1;    // penalty on the squares of coefficients
  /// Sampling ends early once each of so many leading parts is clear of the next (the test of
  /// S-LIME, Zhou, Hooker & Wang 2021, on coefficients): 0 takes all samples.
  size_t leading = 0;
  /// Or once half of every 95 % interval is at most this, in the units of the answer; 0: never.
  double tolerance = 0;
  /// Is told how far long work is; null: nobody.
  Reporter* reporter = nullptr;
};
/// As a question asks: samples are evaluations, and the order of the five leading parts is awaited.
LimeOptions lime_options(const EstimateOptions& options);

/// The fit as an attribution: the intercept is its base, the coefficients are phi; the completeness
/// error is what the linear model is off at the input.
Attribution lime_attribution(LimeFit fit, const LimeOptions& options);

/// sqrt(exp(-distance² / width²)).
double lime_weight(double distance, double width);

/// Texts: players are distinct words, of which a random number is hidden; distance is a hundred
/// times the cosine distance from the full text, width 25.
LimeFit lime_text(Game& game, const LimeOptions& options);
/// Pictures: players are superpixels, each shown with probability ½; cosine distance, width .25.
LimeFit lime_picture(Game& game, const LimeOptions& options);

/// A column as LIME varies it. A number falls into one of four bins at training quartiles and is
/// drawn from the normal distribution of its bin, cut at the bin's ends; a missing one (NaN) falls
/// into a fifth. A category is drawn by its frequency.
struct LimeColumn {
  bool category = false;
  std::vector<double> edges;              // between bins, rising; none of a category
  std::vector<double> frequencies;        // of bins and "missing", or categories
  std::vector<double> means, deviations;  // of the same
  std::vector<double> low, high;          // ends of bins
};
/// From the training values of a column; `category`: they are 0, 1, ….
LimeColumn lime_column(std::span<const double> values, bool category);
/// The bin or category of a value; one that training did not see is a bin of its own.
size_t lime_bin(const LimeColumn& column, double value);

/// Answers (rows) of a model for rows (rows, columns).
using RowModel = std::function<void(std::span<const double> rows, std::span<double> answers)>;
/// Rows of a table: a column is unchanged where it stays in its bin; Euclidean distance, width .75
/// √columns.
LimeFit lime_row(const RowModel& model, std::span<const double> row,
                 std::span<const LimeColumn> columns, const LimeOptions& options);

}  // namespace quern::explain
