#include "quern/metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace quern::metrics {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double weight(std::span<const float> weights, size_t row) {
  return weights.empty() ? 1.0 : static_cast<double>(weights[row]);
}

double probability(const Classified& c, size_t row, size_t of) {
  return static_cast<double>(c.probabilities[row * c.classes + of]);
}

/// Rows by falling probability of a class.
std::vector<uint32_t> falling(const Classified& c, size_t of) {
  std::vector<uint32_t> order(c.rows());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return c.probabilities[a * c.classes + of] > c.probabilities[b * c.classes + of];
  });
  return order;
}

/// Calls tally(true weight, false weight) for each group of equal probability, falling.
template <typename Tally>
void for_groups(const Classified& c, size_t of, std::span<const uint32_t> order,
                std::span<const float> weights, const Tally& tally) {
  for (size_t i = 0; i < order.size();) {
    const float p = c.probabilities[order[i] * c.classes + of];
    double yes = 0;
    double no = 0;
    for (; i < order.size() && c.probabilities[order[i] * c.classes + of] == p; ++i) {
      const bool is = static_cast<size_t>(c.labels[order[i]]) == of;
      (is ? yes : no) += weight(weights, order[i]);
    }
    tally(yes, no, static_cast<double>(p));
  }
}

double auc_of(const Classified& c, size_t of, std::span<const uint32_t> order,
              std::span<const float> weights) {
  double yes_before = 0;
  double no_before = 0;
  double area = 0;
  for_groups(c, of, order, weights, [&](double yes, double no, double) {
    area += no * (yes_before + yes / 2);
    yes_before += yes;
    no_before += no;
  });
  return yes_before > 0 && no_before > 0 ? area / (yes_before * no_before) : kNan;
}

double precision_of(const Classified& c, size_t of, std::span<const uint32_t> order,
                    std::span<const float> weights) {
  double yes_all = 0;
  for (size_t row = 0; row < c.rows(); ++row) {
    if (static_cast<size_t>(c.labels[row]) == of) yes_all += weight(weights, row);
  }
  if (!(yes_all > 0)) return kNan;
  double yes_before = 0;
  double all = 0;
  double sum = 0;
  for_groups(c, of, order, weights, [&](double yes, double no, double) {
    yes_before += yes;
    all += yes + no;
    if (all > 0) sum += yes / yes_all * (yes_before / all);
  });
  return sum;
}

/// Weighted counts of one class: right, given, there.
struct Tally {
  double right = 0, given = 0, there = 0;
};
std::vector<Tally> tallies(const Classified& c, std::span<const float> weights) {
  std::vector<Tally> tally(c.classes);
  for (size_t row = 0; row < c.rows(); ++row) {
    const double w = weight(weights, row);
    const size_t chosen = c.chosen(row);
    const auto label = static_cast<size_t>(c.labels[row]);
    tally[chosen].given += w;
    tally[label].there += w;
    if (chosen == label) tally[label].right += w;
  }
  return tally;
}

double total(const Classified& c, std::span<const float> weights) {
  double sum = 0;
  for (size_t row = 0; row < c.rows(); ++row) sum += weight(weights, row);
  return sum;
}

size_t positive_of(const Classified& c) {
  return c.positive >= 0 ? static_cast<size_t>(c.positive) : 1;
}

/// The orders that AUC and average precision need, made once for all resamples.
class Ranked {
 public:
  explicit Ranked(const Classified& c) : c_(c) {
    if (c.classes == 2) {
      orders_.push_back(falling(c, positive_of(c)));
      return;
    }
    for (size_t of = 0; of < c.classes; ++of) orders_.push_back(falling(c, of));
  }
  double auc(std::span<const float> weights) const { return mean(auc_of, weights); }
  double precision(std::span<const float> weights) const { return mean(precision_of, weights); }

 private:
  template <typename F>
  double mean(const F& f, std::span<const float> weights) const {
    if (c_.classes == 2) return f(c_, positive_of(c_), orders_[0], weights);
    double sum = 0;
    size_t count = 0;
    for (size_t of = 0; of < c_.classes; ++of) {
      const double one = f(c_, of, orders_[of], weights);
      if (!std::isfinite(one)) continue;
      sum += one;
      ++count;
    }
    return count > 0 ? sum / static_cast<double>(count) : kNan;
  }

  const Classified& c_;
  std::vector<std::vector<uint32_t>> orders_;
};

double loss_at(const Classified& c, double temperature) {
  double sum = 0;
  for (size_t row = 0; row < c.rows(); ++row) {
    double all = 0;
    double own = 0;
    for (size_t i = 0; i < c.classes; ++i) {
      const double power = std::log(std::max(probability(c, row, i), 1e-30)) / temperature;
      if (static_cast<size_t>(c.labels[row]) == i) own = power;
      all += std::exp(power);
    }
    sum += std::log(all) - own;
  }
  return sum / static_cast<double>(std::max<size_t>(1, c.rows()));
}

}  // namespace

size_t Classified::chosen(size_t row) const {
  const auto p = probabilities.subspan(row * classes, classes);
  if (positive >= 0 && classes == 2) {
    const auto yes = static_cast<size_t>(positive);
    return static_cast<double>(p[yes]) >= threshold ? yes : 1 - yes;
  }
  return static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin());
}

double accuracy(const Classified& c, std::span<const float> weights) {
  double right = 0;
  for (const Tally& t : tallies(c, weights)) right += t.right;
  return right / total(c, weights);
}

double balanced_accuracy(const Classified& c, std::span<const float> weights) {
  double sum = 0;
  double there = 0;
  for (const Tally& t : tallies(c, weights)) {
    if (!(t.there > 0)) continue;
    sum += t.right / t.there;
    ++there;
  }
  return there > 0 ? sum / there : kNan;
}

double roc_auc(const Classified& c, std::span<const float> weights) {
  return Ranked(c).auc(weights);
}

double average_precision(const Classified& c, std::span<const float> weights) {
  return Ranked(c).precision(weights);
}

double log_loss(const Classified& c, std::span<const float> weights) {
  double sum = 0;
  for (size_t row = 0; row < c.rows(); ++row) {
    const double p = probability(c, row, static_cast<size_t>(c.labels[row]));
    sum -= weight(weights, row) * std::log(std::max(p, 1e-15));
  }
  return sum / total(c, weights);
}

double brier(const Classified& c, std::span<const float> weights) {
  double sum = 0;
  for (size_t row = 0; row < c.rows(); ++row) {
    double error = 0;
    for (size_t i = 0; i < c.classes; ++i) {
      const double truth = static_cast<size_t>(c.labels[row]) == i ? 1 : 0;
      const double difference = probability(c, row, i) - truth;
      error += difference * difference;
    }
    sum += weight(weights, row) * (c.classes == 2 ? error / 2 : error);
  }
  return sum / total(c, weights);
}

double calibration_error(const Classified& c, std::span<const float> weights) {
  constexpr size_t kBins = 15;
  struct Bin {
    double weight = 0, confidence = 0, right = 0;
  };
  std::vector<Bin> bins(kBins);
  for (size_t row = 0; row < c.rows(); ++row) {
    const auto p = c.probabilities.subspan(row * c.classes, c.classes);
    const auto best = static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin());
    const auto confidence = static_cast<double>(p[best]);
    const double w = weight(weights, row);
    Bin& bin = bins[std::min(kBins - 1, static_cast<size_t>(confidence * kBins))];
    bin.weight += w;
    bin.confidence += w * confidence;
    bin.right += static_cast<size_t>(c.labels[row]) == best ? w : 0;
  }
  double sum = 0;
  for (const Bin& bin : bins) sum += std::abs(bin.confidence - bin.right);
  return sum / total(c, weights);
}

double f1(const Classified& c, std::span<const float> weights) {
  const std::vector<Tally> tally = tallies(c, weights);
  const auto one = [](const Tally& t) {
    return t.given + t.there > 0 ? 2 * t.right / (t.given + t.there) : 0.0;
  };
  if (c.classes == 2) return one(tally[positive_of(c)]);
  double sum = 0;
  for (const Tally& t : tally) sum += one(t);
  return sum / static_cast<double>(tally.size());
}

std::vector<uint64_t> confusion(const Classified& c) {
  std::vector<uint64_t> counts(c.classes * c.classes);
  for (size_t row = 0; row < c.rows(); ++row)
    ++counts[static_cast<size_t>(c.labels[row]) * c.classes + c.chosen(row)];
  return counts;
}

std::vector<CurvePoint> roc_curve(const Classified& c, size_t of) {
  std::vector<CurvePoint> points = {{0, 0}};
  double yes_all = 0;
  double no_all = 0;
  for (const int32_t label : c.labels) (static_cast<size_t>(label) == of ? yes_all : no_all) += 1;
  if (yes_all == 0 || no_all == 0) return points;
  double yes = 0;
  double no = 0;
  for_groups(c, of, falling(c, of), {}, [&](double more_yes, double more_no, double) {
    yes += more_yes;
    no += more_no;
    points.push_back({no / no_all, yes / yes_all});
  });
  return points;
}

std::vector<CurvePoint> precision_recall_curve(const Classified& c, size_t of) {
  std::vector<CurvePoint> points;
  double yes_all = 0;
  for (const int32_t label : c.labels) yes_all += static_cast<size_t>(label) == of ? 1 : 0;
  if (yes_all == 0) return points;
  double yes = 0;
  double all = 0;
  for_groups(c, of, falling(c, of), {}, [&](double more_yes, double more_no, double) {
    yes += more_yes;
    all += more_yes + more_no;
    points.push_back({yes / yes_all, yes / all});
  });
  return points;
}

std::vector<ReliabilityBin> reliability(const Classified& c, size_t of) {
  constexpr size_t kBins = 10;
  std::vector<ReliabilityBin> bins(kBins);
  for (size_t row = 0; row < c.rows(); ++row) {
    const double p = probability(c, row, of);
    ReliabilityBin& bin = bins[std::min(kBins - 1, static_cast<size_t>(p * kBins))];
    bin.probability += p;
    bin.frequency += static_cast<size_t>(c.labels[row]) == of ? 1 : 0;
    ++bin.rows;
  }
  std::erase_if(bins, [](const ReliabilityBin& bin) { return bin.rows == 0; });
  for (ReliabilityBin& bin : bins) {
    bin.probability /= static_cast<double>(bin.rows);
    bin.frequency /= static_cast<double>(bin.rows);
  }
  return bins;
}

std::vector<Score> score_classes(const Classified& c, uint64_t seed) {
  const Ranked ranked(c);
  std::vector<Score> scores;
  const auto add = [&](const char* name, const auto& score) {
    scores.push_back({name, bootstrap(c.rows(), score, seed)});
  };
  using Weights = std::span<const float>;
  add("accuracy", [&](Weights w) { return accuracy(c, w); });
  add("balanced_accuracy", [&](Weights w) { return balanced_accuracy(c, w); });
  add("auc", [&](Weights w) { return ranked.auc(w); });
  if (c.classes == 2) {
    add("average_precision", [&](Weights w) { return ranked.precision(w); });
  }
  add("log_loss", [&](Weights w) { return log_loss(c, w); });
  add("brier", [&](Weights w) { return brier(c, w); });
  add("ece", [&](Weights w) { return calibration_error(c, w); });
  scores.back().interval = centred(scores.back().interval);
  add("f1", [&](Weights w) { return f1(c, w); });
  return scores;
}

double fit_temperature(const Classified& c) {
  if (c.rows() == 0) return 1;
  // The loss is convex in 1/T; golden section on log T.
  constexpr double kGolden = 0.6180339887498949;
  double low = std::log(0.05);
  double high = std::log(20.0);
  double a = high - kGolden * (high - low);
  double b = low + kGolden * (high - low);
  double loss_a = loss_at(c, std::exp(a));
  double loss_b = loss_at(c, std::exp(b));
  while (high - low > 1e-4) {
    if (loss_a < loss_b) {
      high = b;
      b = a;
      loss_b = loss_a;
      a = high - kGolden * (high - low);
      loss_a = loss_at(c, std::exp(a));
    } else {
      low = a;
      a = b;
      loss_a = loss_b;
      b = low + kGolden * (high - low);
      loss_b = loss_at(c, std::exp(b));
    }
  }
  return std::exp((low + high) / 2);
}

double fit_threshold(const Classified& c,
                     double (*score)(const Classified&, std::span<const float>)) {
  std::vector<float> values;
  for (size_t row = 0; row < c.rows(); ++row)
    values.push_back(c.probabilities[row * c.classes + positive_of(c)]);
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  // A threshold from many candidates is luck: two hundred quantiles are enough.
  const size_t stride = std::max<size_t>(1, values.size() / 200);
  Classified at = c;
  at.threshold = 0.5;
  double best = score(at, {});
  double threshold = 0.5;
  for (size_t i = stride; i < values.size(); i += stride) {
    at.threshold = (static_cast<double>(values[i - 1]) + static_cast<double>(values[i])) / 2;
    const double value = score(at, {});
    if (value > best) {
      best = value;
      threshold = at.threshold;
    }
  }
  return threshold;
}

double cost_threshold(double false_positive, double false_negative) {
  return false_positive / (false_positive + false_negative);
}

}  // namespace quern::metrics
