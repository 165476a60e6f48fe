#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "quern/metrics/classification.h"
#include "quern/metrics/linear_baseline.h"
#include "quern/metrics/regression.h"

// Expected numbers are scikit-learn's, by tests/golden/scores.py.
namespace quern::metrics {
namespace {

constexpr std::array<float, 8> kPositive = {.1F, .4F, .35F, .8F, .8F, .55F, .2F, .9F};
constexpr std::array<int32_t, 8> kLabels = {0, 0, 1, 1, 0, 1, 0, 1};

std::vector<float> both_classes() {
  std::vector<float> p;
  for (const float one : kPositive) {
    p.push_back(1 - one);
    p.push_back(one);
  }
  return p;
}

TEST(Scores, OfTwoClasses) {
  const std::vector<float> p = both_classes();
  const Classified c{p, kLabels, 2, 1, 0.5};
  EXPECT_NEAR(roc_auc(c), 0.78125, 1e-12);
  EXPECT_NEAR(average_precision(c), 0.7708333333333333, 1e-12);
  EXPECT_NEAR(log_loss(c), 0.5531163494248077, 1e-6);
  EXPECT_NEAR(brier(c), 0.190625, 1e-6);
  EXPECT_NEAR(accuracy(c), 0.75, 1e-12);
  EXPECT_NEAR(f1(c), 0.75, 1e-12);
  EXPECT_NEAR(balanced_accuracy(c), 0.75, 1e-12);
  const std::vector<float> weights = {1, 2, 0, 1, 3, 1, 1, 2};
  EXPECT_NEAR(roc_auc(c, weights), 0.8392857142857143, 1e-12);
  EXPECT_NEAR(average_precision(c, weights), 0.7678571428571428, 1e-12);
  EXPECT_EQ(confusion(c), (std::vector<uint64_t>{3, 1, 1, 3}));
  EXPECT_EQ(roc_curve(c, 1).back().y, 1);
}

TEST(Scores, OfThreeClasses) {
  const std::vector<float> p = {.7F, .2F, .1F, .3F, .4F, .3F, .2F, .2F,
                                .6F, .5F, .3F, .2F, .1F, .8F, .1F};
  const std::vector<int32_t> labels = {0, 1, 2, 1, 1};
  const Classified c{p, labels, 3};
  EXPECT_NEAR(roc_auc(c), 1.0, 1e-12);
  EXPECT_NEAR(log_loss(c), 0.6421815310438048, 1e-6);
  EXPECT_NEAR(f1(c), 0.8222222222222223, 1e-12);
  EXPECT_NEAR(balanced_accuracy(c), 0.8888888888888888, 1e-12);
}

TEST(Scores, CalibrationIsFoundAndMeasured) {
  // Rows that say .9 and are right six times of ten: too sure of themselves.
  std::vector<float> p;
  std::vector<int32_t> labels;
  for (int i = 0; i < 1000; ++i) {
    p.insert(p.end(), {0.1F, 0.9F});
    labels.push_back(i % 10 < 6 ? 1 : 0);
  }
  const Classified c{p, labels, 2, 1, 0.5};
  EXPECT_NEAR(calibration_error(c), 0.3, 1e-6);
  // p^(1/T) normalised gives .6: T = log 9 / log 1.5.
  EXPECT_NEAR(fit_temperature(c), std::log(9) / std::log(1.5), 2e-3);
  EXPECT_NEAR(reliability(c, 1).front().frequency, 0.6, 1e-9);
}

TEST(Scores, ThresholdsAreChosen) {
  const std::vector<float> p = both_classes();
  const Classified c{p, kLabels, 2, 1, 0.5};
  Classified at = c;
  at.threshold = fit_threshold(c, accuracy);
  EXPECT_GE(accuracy(at), accuracy(c));
  EXPECT_DOUBLE_EQ(cost_threshold(1, 9), 0.1);
}

TEST(Scores, OfValues) {
  const std::vector<double> truth = {1, 2, 3, 5};
  const std::vector<double> said = {1.5, 1.5, 3.5, 4};
  const Regressed r{said, truth};
  EXPECT_NEAR(rmse(r), 0.6614378277661477, 1e-12);
  EXPECT_NEAR(mean_absolute_error(r), 0.625, 1e-12);
  EXPECT_NEAR(r_squared(r), 0.8, 1e-12);
  EXPECT_DOUBLE_EQ(conformal_half_width(r, 0.6), 0.5);  // the third of .5 .5 .5 1
  EXPECT_DOUBLE_EQ(conformal_half_width(r, 0.8), 1.0);
  EXPECT_TRUE(std::isinf(conformal_half_width(r, 0.9)));
  EXPECT_DOUBLE_EQ(largest_error(r), 1.0);
}

TEST(Scores, AreFoundByName) {
  const std::vector<Score> scores = {{"auc", {0.8, 0.7, 0.9}}, {"f1", {0.5, 0.4, 0.6}}};
  EXPECT_EQ(value_of(scores, "f1"), 0.5);
  EXPECT_TRUE(std::isnan(value_of(scores, "rmse")));
}

TEST(Scores, IntervalsOfWhatResamplingMovesHoldTheValue) {
  const Interval moved = centred({0.1, 0.15, 0.25});
  EXPECT_NEAR(moved.low, 0.05, 1e-12);
  EXPECT_NEAR(moved.high, 0.15, 1e-12);
  EXPECT_EQ(centred({0.01, 0.1, 0.2}).low, 0);
  // Probabilities that are right: of 60 rows, resamples are off by more than the rows are.
  std::vector<float> probabilities;
  std::vector<int32_t> classes;
  for (uint32_t i = 0; i < 60; ++i) {
    const float p = static_cast<float>(i % 20) / 20 + 0.025F;
    probabilities.insert(probabilities.end(), {1 - p, p});
    classes.push_back(i * 7919 % 100 < static_cast<uint32_t>(100 * p) ? 1 : 0);
  }
  const Classified c{probabilities, classes, 2, 1, 0.5};
  const auto scores = score_classes(c, 1);
  const auto& ece = std::ranges::find(scores, "ece", &Score::name)->interval;
  EXPECT_LE(ece.low, ece.value);
  EXPECT_LE(ece.value, ece.high);
  EXPECT_LT(ece.low, ece.high);
}

TEST(Scores, BootstrapIntervalsHoldTheStandardError) {
  // The mean of 0/1 rows, half of them 1: standard error .5/√n.
  const size_t rows = 400;
  const auto mean = [&](std::span<const float> counts) {
    double sum = 0;
    for (size_t i = 0; i < rows; i += 2) sum += static_cast<double>(counts[i]);
    return sum / static_cast<double>(rows);
  };
  const Interval interval = bootstrap(rows, mean, 1, 2000);
  EXPECT_DOUBLE_EQ(interval.value, 0.5);
  EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 * 0.5 / 20, 0.008);
  EXPECT_EQ(bootstrap(rows, mean, 1, 50).low, bootstrap(rows, mean, 1, 50).low);
}

SparseRows features() {
  SparseRows rows;
  rows.width = 3;
  for (int i = 0; i < 24; ++i) {
    rows.add(0, static_cast<float>((i * 7) % 5 - 2));
    rows.add(1, static_cast<float>((i * 3) % 4) / 2);
    if (i % 3 == 0) rows.add(2, 1);
    rows.end_row();
  }
  return rows;
}

TEST(LinearBaseline, AgreesWithScikitLearn) {
  const SparseRows rows = features();
  std::vector<int32_t> labels;
  std::vector<float> targets;
  for (int i = 0; i < 24; ++i) {
    labels.push_back((i * 5) % 7 % 3);
    const double x = (i * 7) % 5 - 2 - 2 * ((i * 3) % 4 / 2.0) + 0.5 * (i % 3 == 0 ? 1 : 0);
    targets.push_back(static_cast<float>(x + 0.3 * ((i * 11) % 6 - 2.5)));
  }
  const auto p = LinearBaseline::classifier(rows, labels, 3, 1000).predict(rows);
  const std::vector<double> expected = {0.421723, 0.214435, 0.363842, 0.371411, 0.295113,
                                        0.333475, 0.564169, 0.26457,  0.171262};
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(static_cast<double>(p[i]), expected[i], 2e-4) << i;
  const auto m = LinearBaseline::support_vectors(rows, labels, 3, 0.5).scores(rows);
  const std::vector<double> margins = {-0.1155, -0.5591, -0.2635, -0.2974, -0.4172,
                                       -0.2922, 0.1253,  -0.4403, -0.6487};
  for (size_t i = 0; i < margins.size(); ++i)
    EXPECT_NEAR(static_cast<double>(m[i]), margins[i], 0.03) << i;
  const auto v = LinearBaseline::regression(rows, targets, 1000).predict(rows);
  const std::vector<double> values = {-2.038496, -2.586935, 0.209824};
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(static_cast<double>(v[i]), values[i], 1e-3) << i;
}

}  // namespace
}  // namespace quern::metrics
