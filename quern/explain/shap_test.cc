#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "quern/explain/estimate.h"
#include "quern/explain/explain_testing.h"

namespace quern::explain {
namespace {

using ::testing::DoubleNear;
using ::testing::Pointwise;

using Row = TestRow;
using Model = TestModel;
constexpr size_t kBackground = 16;

/// Row `i` of the table that tests/golden/shap_rows.py makes: 16 of background, then the explained.
Row row_of(size_t i, size_t columns) {
  Row row;
  for (size_t c = 0; c < columns; ++c) {
    row.push_back(static_cast<double>((i * 37 + c * 53 + i * c * 11) % 101) / 25 - 2);
  }
  return row;
}

double network(const Row& x) {
  constexpr double kOut[] = {1, -.8, .6, -.5};
  double score = 0;
  for (int h = 0; h < 4; ++h) {
    double sum = .3 * h;
    for (int c = 0; c < static_cast<int>(x.size()); ++c) {
      sum += x[static_cast<size_t>(c)] * ((c * 7 + h * 5) % 11 - 5) / 6;
    }
    score += kOut[h] * std::max(0.0, sum);
  }
  return 1 / (1 + std::exp(-score));
}

double tree(const Row& x) {
  if (x[0] > 0) return x[1] > .2 ? (x[2] > 0 ? 5 : 1) : -2;
  return x[3] > -.5 ? 2 : x[4] > .1 ? -1 : -4;
}

double products(const Row& x) {
  double sum = std::sin(x.front() * x.back());
  for (size_t c = 0; c + 1 < x.size(); ++c) sum += x[c] * x[c + 1];
  return sum;
}

CasesGame masked(Model model, size_t columns) {
  std::vector<Row> background;
  for (size_t b = 0; b < kBackground; ++b) background.push_back(row_of(b, columns));
  return masked_rows(std::move(model), row_of(kBackground, columns), std::move(background));
}

struct Golden {
  const char* name;
  Model model;
  double base;
  std::vector<double> phi;
};

// tests/golden/shap_rows.py prints these: shap's ExactExplainer on the same rows and functions.
std::vector<Golden> golden() {
  return {{"network",
           network,
           0.4697523123532371,
           {-0.012160634851417974, -0.18716497425667328, 0.05115433202430584, 0.08956019329091049,
            0.04016462387760119, 0.13151494377858852, 0.10090995692250741, -0.06642463350168062,
            0.27018170220714266}},
          {"tree",
           tree,
           0.4375,
           {-1.4583333333333337, -1.2708333333333328, -0.3333333333333332, 0.5000000000000002,
            0.12500000000000006, 0.0}},
          {"products",
           products,
           -0.4881428812571897,
           {-0.60868511101637, -0.7823999999999989, 0.19624999999999956, 0.5659499999999998,
            -0.4560499999999994, -0.3750499999999999, -0.09500000000000018, -1.252099999999997,
            -0.1548000000000005, 0.8940999999999992, 0.11195000000000016, 0.6236265050638952}}};
}

TEST(Shap, ExactValuesAgreeWithThePackage) {
  for (const Golden& g : golden()) {
    auto game = masked(g.model, g.phi.size());
    for (const Method method : {Method::kExact, Method::kKernel}) {
      const Attribution a =
          estimate(game, {.method = method, .max_evaluations = size_t{1} << g.phi.size()});
      EXPECT_TRUE(a.exact) << g.name;
      EXPECT_NEAR(a.base, g.base, 1e-9) << g.name;
      EXPECT_THAT(a.phi, Pointwise(DoubleNear(1e-9), g.phi)) << g.name << method_name(method);
    }
  }
}

TEST(Shap, SampledValuesHoldThePackagesWithinTheirErrors) {
  for (const Golden& g : golden()) {
    auto game = masked(g.model, g.phi.size());
    for (const Method method : {Method::kLeverage, Method::kPermutation}) {
      const size_t evaluations = (size_t{1} << g.phi.size()) / 2 + 30;
      const Attribution a = estimate(game, {.method = method, .max_evaluations = evaluations});
      for (size_t c = 0; c < g.phi.size(); ++c) {
        EXPECT_NEAR(a.phi[c], g.phi[c], 5 * a.standard_errors[c] + 1e-9)
            << g.name << " " << method_name(method) << " " << c;
      }
    }
  }
}

TEST(Shap, OfALinearModelIsItsSlopeTimesTheDistanceFromTheMean) {
  constexpr size_t kColumns = 7;
  const Row slopes = {2, -1, .5, 0, 3, -.25, 1};
  auto game = masked(
      [&](const Row& x) {
        double sum = 1;
        for (size_t c = 0; c < kColumns; ++c) sum += slopes[c] * x[c];
        return sum;
      },
      kColumns);
  Row expected = row_of(kBackground, kColumns);
  for (size_t c = 0; c < kColumns; ++c) {
    for (size_t b = 0; b < kBackground; ++b) expected[c] -= row_of(b, kColumns)[c] / kBackground;
    expected[c] *= slopes[c];
  }
  EXPECT_THAT(estimate(game, {.method = Method::kExact}).phi,
              Pointwise(DoubleNear(1e-12), expected));
}

}  // namespace
}  // namespace quern::explain
