#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "quern/base/error.h"
#include "quern/explain/answer_gradient.h"
#include "quern/explain/estimate.h"
#include "quern/explain/explain_testing.h"
#include "quern/explain/explanation.h"
#include "quern/explain/faithfulness.h"
#include "quern/explain/lime.h"
#include "quern/explain/path_gradients.h"
#include "quern/explain/superpixels.h"

namespace quern::explain {
namespace {

TEST(Lime, Weights) {
  // Half the words hidden: cosine distance 1 - √½, a hundredfold.
  EXPECT_NEAR(lime_weight(100 * (1 - std::sqrt(0.5)), 25), 0.50344, 5e-6);
  EXPECT_NEAR(lime_weight(1, 0.75 * std::sqrt(4)), 0.80074, 5e-6);
  EXPECT_NEAR(lime_weight(1, 0.75 * std::sqrt(10)), 0.91495, 5e-6);
}

FunctionGame linear_game() {
  return bit_game(6, [](size_t s) {
    const auto has = [s](int i) { return static_cast<double>((s >> i) & 1); };
    return 1 + 3 * has(0) - 2 * has(1) + 0.5 * has(2);
  });
}

TEST(Lime, FindsALinearModel) {
  auto game = linear_game();
  for (const auto& fit : {lime_text(game, {.ridge = 0}), lime_picture(game, {.ridge = 0})}) {
    EXPECT_THAT(fit.coefficients,
                ::testing::Pointwise(::testing::DoubleNear(1e-8), {3., -2., .5, 0., 0., 0.}));
    EXPECT_NEAR(fit.intercept, 1, 1e-8);
    EXPECT_NEAR(fit.local_value, 2.5, 1e-8);
    EXPECT_NEAR(fit.r_squared, 1, 1e-9);
  }
  EXPECT_EQ(lime_text(game, {}).samples, 5000U);
  EXPECT_EQ(lime_picture(game, {}).samples, 1000U);
}

/// The slope of a weighted line through what answers of six players do with how many are shown.
double line_slope(const std::vector<double>& weights, const std::vector<double>& answers) {
  double sum = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (size_t k = 0; k < weights.size(); ++k) {
    const auto shown = static_cast<double>(k);
    sum += weights[k];
    x += weights[k] * shown;
    y += weights[k] * answers[k];
    xx += weights[k] * shown * shown;
    xy += weights[k] * shown * answers[k];
  }
  return (sum * xy - x * y) / (sum * xx - x * x);
}

TEST(Lime, SamplesCountByTheirDistance) {
  // Players alike: by symmetry every coefficient is the slope over the number shown.
  const std::vector<double> answers = {0, 0, 0, 1, 4, 20, 70}, binomial = {1, 6, 15, 20, 15, 6, 1};
  auto game = bit_game(6, [&](size_t s) { return answers[static_cast<size_t>(std::popcount(s))]; });
  std::vector<double> text, picture;
  for (size_t k = 0; k <= 6; ++k) {
    const double distance = 1 - std::sqrt(static_cast<double>(k) / 6);
    text.push_back(k == 6 ? 0 : std::exp(-std::pow(distance / 0.25, 2) / 2));  // all counts even
    picture.push_back(binomial[k] * std::exp(-std::pow(distance / 0.25, 2) / 2));
  }
  const double by_text = line_slope(text, answers), by_picture = line_slope(picture, answers);
  const LimeOptions options{.samples = 100000, .ridge = 0};
  for (const double found : lime_text(game, options).coefficients)
    EXPECT_NEAR(found, by_text, 0.02 * by_text);
  for (const double found : lime_picture(game, options).coefficients)
    EXPECT_NEAR(found, by_picture, 0.02 * by_picture);
}

TEST(Lime, StopsOnceTheOrderIsStable) {
  auto game = linear_game();
  const LimeFit fit = lime_text(game, {.leading = 2});
  EXPECT_TRUE(fit.stable);
  EXPECT_LT(fit.samples, 5000U);
  auto tied = bit_game(6, [](size_t s) { return std::sin(static_cast<double>(s * s)); });
  const LimeFit unclear = lime_text(tied, {.leading = 6});
  EXPECT_EQ(unclear.samples, 5000U);
  EXPECT_FALSE(unclear.stable);
}

TEST(Lime, SameSeedSameFit) {
  auto game = bit_game(8, [](size_t s) { return std::sin(static_cast<double>(s)); });
  EXPECT_EQ(lime_text(game, {.seed = 4}).coefficients, lime_text(game, {.seed = 4}).coefficients);
  EXPECT_NE(lime_text(game, {.seed = 4}).coefficients, lime_text(game, {.seed = 5}).coefficients);
}

TEST(Lime, ColumnsFallIntoQuartiles) {
  std::vector<double> values;
  for (int i = 0; i <= 100; ++i) values.push_back(i);
  const LimeColumn column = lime_column(values, false);
  EXPECT_EQ(column.edges, (std::vector<double>{25, 50, 75}));
  EXPECT_EQ(lime_bin(column, 25), 0U);
  EXPECT_EQ(lime_bin(column, 25.5), 1U);
  EXPECT_EQ(lime_bin(column, 1e9), 3U);
  EXPECT_NEAR(column.means[0], 12.5, 1e-12);
  EXPECT_EQ(column.low, (std::vector<double>{0, 25, 50, 75}));
  EXPECT_EQ(column.high, (std::vector<double>{25, 50, 75, 100}));
  const LimeColumn category = lime_column(std::vector<double>{0, 2, 2, 1}, true);
  EXPECT_EQ(category.frequencies, (std::vector<double>{.25, .25, .5}));
  EXPECT_EQ(lime_bin(category, 7), 7U);  // not seen: like no other
}

TEST(Lime, MissingNumbersAreABinOfTheirOwn) {
  const double missing = std::numeric_limits<double>::quiet_NaN();
  const LimeColumn column = lime_column(std::vector<double>{1, 2, missing, 3, 4, missing}, false);
  EXPECT_EQ(column.edges, (std::vector<double>{1.75, 2.5, 3.25}));
  EXPECT_EQ(lime_bin(column, missing), 4U);
  EXPECT_NEAR(column.frequencies[4], 1. / 3, 1e-12);
  const std::vector<LimeColumn> columns = {
      column, lime_column(std::vector<double>{missing, missing}, false)};
  const RowModel model = [](std::span<const double> rows, std::span<double> answers) {
    for (size_t i = 0; i < answers.size(); ++i) {
      EXPECT_TRUE(std::isnan(rows[2 * i + 1]));
      answers[i] = std::isnan(rows[2 * i]) ? 3 : 0;
    }
  };
  const LimeFit fit = lime_row(model, std::vector<double>{missing, missing}, columns, {.ridge = 0});
  EXPECT_NEAR(fit.coefficients[0], 3, 1e-8);
  EXPECT_NEAR(fit.coefficients[1], 0, 1e-8);
}

// tests/golden/lime_rows.py prints these: the lime package on the same rows and function.
TEST(Lime, AgreesWithTheLimePackage) {
  std::vector<std::vector<double>> values(4);
  for (int i = 0; i < 400; ++i) {
    values[0].push_back(i * 37 % 101 / 10.0);
    values[1].push_back((i * 53 % 97 - 48) / 8.0);
    values[2].push_back(i * 29 % 3);
    values[3].push_back(std::pow(i * 71 % 89, 2) / 500);
  }
  std::vector<LimeColumn> columns;
  for (size_t c = 0; c < 4; ++c) columns.push_back(lime_column(values[c], c == 2));
  const RowModel model = [](std::span<const double> rows, std::span<double> answers) {
    for (size_t i = 0; i < answers.size(); ++i) {
      const double* x = &rows[4 * i];
      const double score = 0.8 * (x[0] - 5) - 0.5 * x[1] + (x[2] == 1 ? 1.5 : 0) - 0.2 * x[3];
      answers[i] = 1 / (1 + std::exp(-score));
    }
  };
  const LimeFit fit =
      lime_row(model, std::vector<double>{8.5, -2, 1, 3.2}, columns, {.samples = 20000});
  constexpr double kCoefficients[] = {.491257, .111358, .160607, .081161},
                   kErrors[] = {.0008355, .0008209, .0008576, .0008449};
  for (size_t c = 0; c < 4; ++c) {
    EXPECT_NEAR(fit.coefficients[c], kCoefficients[c],
                4 * std::hypot(fit.standard_errors[c], kErrors[c]))
        << c;
  }
  EXPECT_NEAR(fit.intercept, .217072, 0.01);
}

TEST(Lime, AsAnAttribution) {
  auto game = linear_game();
  const Attribution a = estimate(game, {.method = Method::kLime});
  EXPECT_EQ(a.method, "lime");
  EXPECT_EQ(a.value, 2.5);
  ASSERT_TRUE(a.local.has_value());
  EXPECT_NEAR(a.completeness_error(), std::abs(a.value - a.local->value), 1e-12);
  EXPECT_LT(a.evaluations, 5000U);  // the order of the leading parts is soon clear
  EXPECT_EQ(estimate(game, {.method = Method::kLime, .picture = true}).method, "lime");
  EXPECT_THROW(estimate(game, {.method = Method::kLime, .max_evaluations = 7}), UsageError);
  const Attribution strict =
      estimate(game, {.method = Method::kLime, .tolerance = 1e-9, .max_evaluations = 900});
  EXPECT_LE(strict.evaluations, 900U);
}

TEST(GroupedGame, PlacesOfAWordComeAndGoTogether) {
  auto game = bit_game(4, [](size_t s) { return s == 15 ? 1 : (s & 5) == 5 ? 0.5 : 0; });
  std::vector<ExplainedPart> parts = {{"word", "so", "", 0},
                                      {"word", " it", "", 1},
                                      {"word", " so", "", 2},
                                      {"special", "<end>", "", -1},
                                      {"word", " is", "", 3}};
  std::vector<ExplainedPart> apart = parts;
  EXPECT_EQ(group_players(apart, 4, false), (std::vector<size_t>{0, 1, 2, 3}));
  GroupedGame grouped(game, group_players(parts, 4, true));
  EXPECT_EQ(grouped.players(), 3U);
  EXPECT_EQ(parts[2].player, parts[0].player);
  EXPECT_EQ(parts[3].player, -1);
  Coalitions coalitions(3);
  const std::vector<uint8_t> so = {1, 0, 0}, all = {1, 1, 1};
  coalitions.add(so);
  coalitions.add(all);
  std::vector<double> values(2);
  grouped.evaluate(coalitions, values);
  EXPECT_EQ(values, (std::vector<double>{0.5, 1}));
}

TEST(Lime, RowsOfATable) {
  std::vector<double> number, code;
  for (int i = 0; i < 400; ++i) {
    number.push_back(i % 101);
    code.push_back(i % 3);
  }
  const std::vector<LimeColumn> columns = {lime_column(number, false), lime_column(code, true)};
  // Above the median pays 4, category 2 pays 1.
  const RowModel model = [](std::span<const double> rows, std::span<double> answers) {
    for (size_t i = 0; i < answers.size(); ++i) {
      answers[i] = (rows[2 * i] > 50 ? 4 : 0) + (rows[2 * i + 1] == 2 ? 1 : 0);
    }
  };
  const std::vector<double> row = {90, 2};
  const LimeFit fit = lime_row(model, row, columns, {});
  // A quarter of the bins are the row's, another quarter answers alike: 4 (1 - 1/3).
  EXPECT_NEAR(fit.coefficients[0], 8. / 3, 0.15);
  EXPECT_NEAR(fit.coefficients[1], 1, 0.1);
  EXPECT_GT(fit.standard_errors[0], 0);
}

TEST(Faithfulness, TheTrueOrderBeatsChanceAndItsReverseLoses) {
  auto game = bit_game(8, [](size_t s) {
    double sum = 0;
    for (int i = 0; i < 8; ++i) sum += ((s >> i) & 1) != 0 ? 8 - i : 0;
    return sum;
  });
  const std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6, 7};
  const Faithfulness good = faithfulness(game, order, 1);
  EXPECT_EQ(good.deletion, (std::vector<double>{36, 28, 21, 15, 10, 6, 3, 1, 0}));
  EXPECT_EQ(good.insertion.front(), 0);
  EXPECT_EQ(good.insertion.back(), 36);
  EXPECT_NEAR(good.deletion_area, (36. / 2 + 28 + 21 + 15 + 10 + 6 + 3 + 1) / 8, 1e-12);
  EXPECT_GT(good.advantage.low, 0);
  EXPECT_GT(good.insertion_area, good.random_insertion.high);
  EXPECT_LT(good.deletion_area, good.random_deletion.low);
  const std::vector<size_t> worst(order.rbegin(), order.rend());
  EXPECT_LT(faithfulness(game, worst, 1).advantage.high, 0);
}

TEST(PathGradients, QuadratureIsExactForPolynomials) {
  const Quadrature q = gauss_legendre(5);
  for (int degree = 0; degree <= 9; ++degree) {
    double sum = 0;
    for (size_t i = 0; i < 5; ++i) sum += q.weights[i] * std::pow(q.points[i], degree);
    EXPECT_NEAR(sum, 1.0 / (degree + 1), 1e-14);
  }
}

TEST(PathGradients, OfNestedRectifiers) {
  // ReLU(ReLU(x1) - 1 - ReLU(x2)) at (3, 1) from zero.
  const GradientModel model = [](std::span<const double> x, std::span<double> gradient) {
    const double inner = std::max(x[0], 0.0) - 1 - std::max(x[1], 0.0);
    gradient[0] = inner > 0 && x[0] > 0 ? 1 : 0;
    gradient[1] = inner > 0 && x[1] > 0 ? -1 : 0;
    return std::max(inner, 0.0);
  };
  const std::vector<double> x = {3, 1}, zero = {0, 0};
  const Attribution a = integrated_gradients(model, x, zero);
  EXPECT_NEAR(a.phi[0], 1.5, 1e-12);
  EXPECT_NEAR(a.phi[1], -0.5, 1e-12);
  EXPECT_LT(a.completeness_error(), 1e-12);
}

/// Two players of two coordinates each.
Path two_players() {
  Path path;
  path.x = {1, 2, -1, 3};
  path.baselines = {{0, 0, 0, 0}, {1, 1, 1, 1}};
  path.players = 2;
  path.gather = [](std::span<const double> c, std::span<double> players) {
    players[0] += c[0] + c[1];
    players[1] += c[2] + c[3];
  };
  return path;
}

double weighed_squares(std::span<const double> x, std::span<double> gradient) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    gradient[i] = 2 * static_cast<double>(i + 1) * x[i];
    sum += static_cast<double>(i + 1) * x[i] * x[i];
  }
  return sum;
}

TEST(PathGradients, ByPlayerFromTheMeanOfBaselines) {
  const Attribution ig =
      path_attribution(weighed_squares, two_players(), {.method = Method::kIntegratedGradients});
  // A sum of squares: each term's own difference, from ½.
  EXPECT_NEAR(ig.phi[0], (1 - .25) + 2 * (4 - .25), 1e-9);
  EXPECT_NEAR(ig.phi[1], 3 * (1 - .25) + 4 * (9 - .25), 1e-9);
  EXPECT_LT(ig.completeness_error(), 1e-9);
  EXPECT_EQ(ig.evaluations, 52U);
  const Attribution gradient =
      path_attribution(weighed_squares, two_players(), {.method = Method::kGradient});
  EXPECT_NEAR(gradient.phi[0], 2 * .5 + 8 * 1.5, 1e-9);
  EXPECT_EQ(gradient.evaluations, 2U);
  EXPECT_THROW(path_attribution(weighed_squares, two_players(),
                                {.method = Method::kIntegratedGradients, .max_evaluations = 2}),
               UsageError);
}

TEST(PathGradients, ExpectedGradientsHoldTheMeanWithinTheirIntervals) {
  const Attribution eg =
      path_attribution(weighed_squares, two_players(),
                       {.method = Method::kExpectedGradients, .max_evaluations = 20003});
  // The mean over the two baselines of each term's difference.
  EXPECT_NEAR(eg.base, 5, 1e-12);
  EXPECT_NEAR(eg.phi[0], (1 + 8 + 0 + 6) / 2., 4 * eg.standard_errors[0]);
  EXPECT_NEAR(eg.phi[1], (3 + 36 + 0 + 32) / 2., 4 * eg.standard_errors[1]);
  EXPECT_GT(eg.standard_errors[1], 0);
  EXPECT_LT(eg.margins[1], 1);
  EXPECT_EQ(eg.evaluations, 20003U);
  const Attribution stopped = path_attribution(
      weighed_squares, two_players(), {.method = Method::kExpectedGradients, .tolerance = 5});
  EXPECT_TRUE(stopped.converged);
  EXPECT_LT(stopped.evaluations, 203U);
}

TEST(AnswerGradient, AgreesWithDifferences) {
  run::RowPipeline pipeline;
  pipeline.temperature = 1.7;
  pipeline.mean = 3;
  pipeline.deviation = 2;
  const std::vector<float> logits = {.3F,  -1.F, .8F,
                                     1.2F, .1F,  -.4F};  // two members, three classes
  using Scale = RowTarget::Scale;
  for (const RowTarget target : {RowTarget{Scale::kProbability, 1}, RowTarget{Scale::kLogOdds, 2},
                                 RowTarget{Scale::kValue}}) {
    const size_t outputs = target.scale == Scale::kValue ? 1 : 3;
    std::vector<double> gradient(logits.size()), ignored(logits.size());
    answer_gradient(pipeline, target, outputs, logits, gradient);
    for (size_t i = 0; i < logits.size(); ++i) {
      std::vector<float> up = logits, down = logits;
      up[i] += 0.01F;
      down[i] -= 0.01F;
      const double difference = answer_gradient(pipeline, target, outputs, up, ignored) -
                                answer_gradient(pipeline, target, outputs, down, ignored);
      EXPECT_NEAR(gradient[i],
                  difference / (static_cast<double>(up[i]) - static_cast<double>(down[i])),
                  1e-4 * std::max(1.0, std::abs(gradient[i])));
    }
  }
}

TEST(Superpixels, FollowColourAndHangTogether) {
  // Left half red, right half blue, 40 x 60.
  std::vector<uint8_t> pixels;
  for (size_t i = 0; i < 40 * 60; ++i) {
    const bool left = i % 60 < 30;
    pixels.insert(pixels.end(), {uint8_t(left ? 200 : 10), 20, uint8_t(left ? 10 : 200)});
  }
  const Superpixels s = slic({40, 60, pixels}, 24);
  EXPECT_GE(s.count, 16U);
  EXPECT_LE(s.count, 32U);
  std::set<uint32_t> left, right;
  for (size_t i = 0; i < s.labels.size(); ++i) {
    ASSERT_LT(s.labels[i], s.count);
    (i % 60 < 30 ? left : right).insert(s.labels[i]);
  }
  for (const uint32_t label : left) EXPECT_FALSE(right.contains(label));
  EXPECT_EQ(left.size() + right.size(), s.count);
}

TEST(Superpixels, OfNothingAndOfOnePixel) {
  EXPECT_EQ(slic({}, 5).count, 0U);
  const std::vector<uint8_t> one = {1, 2, 3};
  EXPECT_EQ(slic({1, 1, one}, 5).count, 1U);
}

}  // namespace
}  // namespace quern::explain
