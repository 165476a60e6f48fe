#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/metrics/interval.h"

namespace quern::metrics {

/// Probabilities (rows, classes) and the class of each row.
struct Classified {
  std::span<const float> probabilities;
  std::span<const int32_t> labels;
  size_t classes = 2;
  int positive = -1;       // of two classes, the one that auc, average precision and f1 speak of
  double threshold = 0.5;  // of its probability, for accuracy and f1

  size_t rows() const { return labels.size(); }
  /// The class that a row is given: by the threshold where `positive` is set, else the likeliest.
  size_t chosen(size_t row) const;
};

// Every score takes weights (rows), empty for all 1. NaN where a score has no meaning (one class).

double accuracy(const Classified& c, std::span<const float> weights = {});
/// Mean over classes of the share of their rows that are right.
double balanced_accuracy(const Classified& c, std::span<const float> weights = {});
/// Area under the ROC curve, ties counted half (Mann-Whitney); of more than two classes, the mean
/// of each against the rest.
double roc_auc(const Classified& c, std::span<const float> weights = {});
/// Σ (recall step) · precision, from the highest probability down; one group for equal ones.
double average_precision(const Classified& c, std::span<const float> weights = {});
/// Mean -log p(label), p at least 1e-15.
double log_loss(const Classified& c, std::span<const float> weights = {});
/// Mean squared distance of p from the label; of two classes, of the positive one alone.
double brier(const Classified& c, std::span<const float> weights = {});
/// Expected calibration error over 15 bins of equal width of the chosen class's probability (Guo et
/// al. 2017).
double calibration_error(const Classified& c, std::span<const float> weights = {});
/// Of the positive class, or the mean over classes.
double f1(const Classified& c, std::span<const float> weights = {});

/// confusion[label * classes + chosen].
std::vector<uint64_t> confusion(const Classified& c);

struct CurvePoint {
  double x = 0, y = 0;
};
/// (false positive rate, true positive rate) and (recall, precision) of class `of`.
std::vector<CurvePoint> roc_curve(const Classified& c, size_t of);
std::vector<CurvePoint> precision_recall_curve(const Classified& c, size_t of);
/// Mean probability of class `of` and how often it was that class, for each of ten bins that holds
/// rows.
struct ReliabilityBin {
  double probability = 0, frequency = 0;
  size_t rows = 0;
};
std::vector<ReliabilityBin> reliability(const Classified& c, size_t of);

/// accuracy, balanced_accuracy, auc, average_precision (two classes), log_loss, brier, ece, f1: in
/// that order, each with its interval.
std::vector<Score> score_classes(const Classified& c, uint64_t seed);

/// The temperature that makes log_loss least on these rows (Guo et al. 2017): p^(1/T), normalised.
/// Between 0.05 and 20.
double fit_temperature(const Classified& c);

/// The threshold on the positive class that makes a score greatest, half-way between two
/// neighbouring probabilities. `score` is accuracy, balanced_accuracy or f1.
double fit_threshold(const Classified& c,
                     double (*score)(const Classified&, std::span<const float>));
/// The threshold that costs least: C(false positive) / (C(false positive) + C(false negative)),
/// right for calibrated probabilities (Elkan 2001, equation 2).
double cost_threshold(double false_positive, double false_negative);

}  // namespace quern::metrics
