#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>
#include <string>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/base/thread_pool.h"
#include "quern/explain/estimate.h"
#include "quern/explain/explain_testing.h"
#include "quern/explain/interactions.h"
#include "quern/explain/kernel_shap.h"
#include "quern/explain/owen.h"
#include "quern/explain/pair_sampler.h"

namespace quern::explain {
namespace {

using ::testing::DoubleNear;
using ::testing::Pointwise;

constexpr std::array kSampled = {Method::kKernel, Method::kLeverage, Method::kPermutation,
                                 Method::kStratified};

/// A small network over a background of one row: every order of interaction, no symmetry.
FunctionGame network(size_t players, uint64_t seed) {
  constexpr size_t kHidden = 6;
  Random random(seed, Stream::kTest);
  std::vector<double> weights(kHidden * (players + 2));
  for (double& w : weights) w = random.normal();
  return {players, [weights, players](std::span<const uint8_t> coalition) {
            double answer = 0;
            for (size_t h = 0; h < kHidden; ++h) {
              const double* w = weights.data() + h * (players + 2);
              double sum = w[players];
              for (size_t i = 0; i < players; ++i) sum += w[i] * coalition[i];
              answer += w[players + 1] * std::tanh(sum);
            }
            return answer;
          }};
}

Attribution by(Method method, Game& game, size_t evaluations, uint64_t seed = 1) {
  return estimate(game, {.method = method, .seed = seed, .max_evaluations = evaluations});
}

TEST(Kernel, SizeMassOfFourPlayers) {
  EXPECT_THAT(kernel_size_mass(4), Pointwise(DoubleNear(1e-12), {4. / 11, 3. / 11, 4. / 11}));
}

TEST(Kernel, EverythingAskedIsExact) {
  for (const size_t players : {2U, 3U, 5U, 8U, 11U}) {
    auto game = network(players, players);
    const Attribution exact = by(Method::kExact, game, 0);
    for (const Method method : {Method::kKernel, Method::kLeverage}) {
      const Attribution all = by(method, game, size_t{1} << players);
      EXPECT_TRUE(all.exact) << players;
      EXPECT_THAT(all.phi, Pointwise(DoubleNear(1e-9), exact.phi));
      EXPECT_EQ(all.evaluations, size_t{1} << players);
      EXPECT_EQ(all.margins, std::vector<double>(players, 0.0));
    }
  }
}

TEST(Sampled, KeepsToItsEvaluationsAndToItsErrors) {
  auto game = network(12, 3);
  const Attribution exact = by(Method::kExact, game, 0);
  for (const Method method : kSampled) {
    const Attribution a = by(method, game, 700);
    EXPECT_LE(a.evaluations, 700U) << method_name(method);
    EXPECT_FALSE(a.exact);
    for (size_t i = 0; i < 12; ++i) {
      EXPECT_GT(a.standard_errors[i], 0);
      EXPECT_GT(a.margins[i], 1.9 * a.standard_errors[i]);
      EXPECT_NEAR(a.phi[i], exact.phi[i], 5 * a.standard_errors[i]) << method_name(method);
    }
    if (method != Method::kStratified) {
      EXPECT_LT(a.completeness_error(), 1e-9);
    }
  }
}

TEST(Sampled, RegressionHasLessErrorThanKernelShap) {
  double ratio = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    auto game = network(10, seed);
    const Attribution exact = by(Method::kExact, game, 0);
    const auto error = [&](Method method) {
      const Attribution a = by(method, game, 256, seed);
      return std::sqrt(std::transform_reduce(a.phi.begin(), a.phi.end(), exact.phi.begin(), 0.0,
                                             std::plus<>(),
                                             [](double x, double y) { return (x - y) * (x - y); }));
    };
    ratio += error(Method::kLeverage) / error(Method::kKernel) / 10;
  }
  EXPECT_LT(ratio, 0.75);
}

TEST(Sampled, IntervalsHoldTheTruth) {
  // 40 games of 9 players by each method: 360 intervals, of which 95 % should hold it.
  for (const Method method : kSampled) {
    size_t held = 0;
    for (uint64_t seed = 0; seed < 40; ++seed) {
      auto game = network(9, 100 + seed);
      const Attribution exact = by(Method::kExact, game, 0);
      const Attribution a = by(method, game, method == Method::kStratified ? 700 : 200, seed);
      for (size_t i = 0; i < 9; ++i) {
        const auto interval = a.interval(i);
        held += exact.phi[i] >= interval.low && exact.phi[i] <= interval.high ? 1 : 0;
      }
    }
    EXPECT_GE(held, 320U) << method_name(method);
    EXPECT_LE(held, 358U) << method_name(method);
  }
}

/// A small network over columns and 20 background rows, all at random.
CasesGame network_over_rows(size_t columns, uint64_t seed) {
  Random random(seed, Stream::kTest);
  const auto draw = [&](size_t count) {
    std::vector<double> values(count);
    for (double& value : values) value = random.normal();
    return values;
  };
  std::vector<std::vector<double>> background(20);
  for (auto& row : background) row = draw(columns);
  const auto model = [weights = draw(4 * columns)](const std::vector<double>& row) {
    double product = 1;
    for (auto w = weights.begin(); w != weights.end(); w += std::ssize(row))
      product *= 1.2 + std::tanh(std::inner_product(row.begin(), row.end(), w, 0.0) / 2);
    return product;
  };
  return masked_rows(model, draw(columns), background);
}

/// The same game, its cases unseen.
FunctionGame averaged(CasesGame& rows) {
  return {rows.players(), [&rows](std::span<const uint8_t> coalition) {
            Coalitions one(coalition.size());
            one.add(coalition);
            double value = 0;
            rows.evaluate(one, std::span(&value, 1));
            return value;
          }};
}

TEST(Cases, OrdersOfTheirOwnHaveLessErrorAndHonestIntervals) {
  double own = 0, shared = 0;
  size_t held = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    CasesGame rows = network_over_rows(9, seed);
    auto whole = averaged(rows);
    const Attribution exact = by(Method::kExact, rows, 0);
    const Attribution a = by(Method::kPermutation, rows, 100, seed);
    const Attribution b = by(Method::kPermutation, whole, 100, seed);
    EXPECT_EQ(a.evaluations, 2U + 6 * 16);
    EXPECT_EQ(a.evaluations, b.evaluations);
    EXPECT_LT(a.completeness_error(), 1e-9);
    for (size_t i = 0; i < 9; ++i) {
      own += std::pow(a.phi[i] - exact.phi[i], 2);
      shared += std::pow(b.phi[i] - exact.phi[i], 2);
      const auto interval = a.interval(i);
      held += exact.phi[i] >= interval.low && exact.phi[i] <= interval.high ? 1 : 0;
    }
  }
  EXPECT_LT(own, shared / 2);
  EXPECT_GE(held, 324U);  // of 360, 342 expected
  EXPECT_LE(held, 356U);
}

TEST(Cases, AreAskedByTheBatch) {
  // A round of walks has 20 · 2 · 79 coalitions.
  class Watched : public CasesGame {
   public:
    using CasesGame::CasesGame;
    void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                        std::span<double> values) override {
      most = std::max(most, coalitions.count());
      CasesGame::evaluate_cases(coalitions, case_of, values);
    }
    size_t most = 0;
  };
  Watched game(80, 20, [](std::span<const uint8_t> coalition, size_t in_case) {
    return static_cast<double>(coalition[in_case]);
  });
  const Attribution a = by(Method::kPermutation, game, 2 + 2 * 2 * 79);
  EXPECT_EQ(a.evaluations, 2U + 2 * 2 * 79);
  EXPECT_LE(game.most, 2048U);
  for (size_t i = 0; i < 80; ++i) EXPECT_NEAR(a.phi[i], i < 20 ? 0.05 : 0, 1e-12) << i;
}

TEST(Cases, ManyAreChosenToWalkOrdersOfTheirOwn) {
  CasesGame rows = network_over_rows(14, 1);
  const Attribution a = by(Method::kAuto, rows, 0);
  EXPECT_EQ(a.method, "permutation");
  EXPECT_THAT(a.reason, ::testing::HasSubstr("20 background rows"));
  EXPECT_EQ(a.evaluations, 2U + 8 * 26);
  EXPECT_EQ(by(Method::kAuto, rows, 40).method, "leverage");  // too few for two pairs of walks
  EXPECT_EQ(choose_method(14, {}, 2).method, Method::kLeverage);
}

TEST(Sampled, StopsAtTheTolerance) {
  auto game = network(14, 5);
  for (const Method method : kSampled) {
    const Attribution a =
        estimate(game, {.method = method, .tolerance = 0.2, .max_evaluations = 16000});
    EXPECT_TRUE(a.converged) << method_name(method);
    EXPECT_LE(std::ranges::max(a.margins), 0.2);
    EXPECT_LT(a.evaluations, 8000U) << method_name(method);
  }
}

TEST(Sampled, SameBitsAtAnyNumberOfThreads) {
  class Threaded : public FunctionGame {
   public:
    Threaded(FunctionGame game, int threads) : FunctionGame(std::move(game)), pool_(threads) {}
    void evaluate(const Coalitions& coalitions, std::span<double> values) override {
      pool_.parallel_for(values.size(), [&](size_t i, int) {
        Coalitions one(coalitions.players());
        one.add(coalitions[i]);
        FunctionGame::evaluate(one, values.subspan(i, 1));
      });
    }
    ThreadPool pool_;
  };
  Threaded one(network(12, 8), 1), three(network(12, 8), 3);
  for (const Method method : kSampled) {
    const Attribution a = by(method, one, 600, 7), b = by(method, three, 600, 7);
    EXPECT_EQ(a.phi, b.phi) << method_name(method);
    EXPECT_EQ(a.margins, b.margins) << method_name(method);
    EXPECT_NE(a.phi, by(method, one, 600, 8).phi) << method_name(method);
  }
}

TEST(Sampled, AConstantGameAndFewPlayers) {
  for (const Method method : kSampled) {
    for (const size_t players : {2U, 3U, 13U}) {
      auto game = bit_game(players, [](size_t) { return 2; });
      const Attribution a = by(method, game, 0);
      EXPECT_THAT(a.phi, Pointwise(DoubleNear(1e-12), std::vector<double>(players, 0.0)));
      EXPECT_EQ(a.base, 2);
    }
  }
}

TEST(PairSampler, DrawsEachPairOnceAndEverySizeAlike) {
  PairSampler sampler(6, 1);
  Coalitions all(6);
  sampler.draw(10, all);
  std::array<size_t, 7> of_size{};
  for (size_t i = 0; i < all.count(); ++i)
    ++of_size[static_cast<size_t>(std::ranges::count(all[i], 1))];
  EXPECT_EQ(of_size, (std::array<size_t, 7>{0, 4, 4, 4, 4, 4, 0}));
  sampler.draw(1000, all);
  EXPECT_TRUE(sampler.exhausted());
  std::set<std::string> rows;
  for (size_t i = 0; i < all.count(); ++i) rows.emplace(all[i].begin(), all[i].end());
  EXPECT_EQ(all.count(), 62U);
  EXPECT_EQ(rows.size(), 62U);
}

TEST(Owen, GlovesInGroups) {
  auto glove = bit_game(3, [](size_t s) { return (s & 1) != 0 && (s & 6) != 0; });
  using Groups = std::vector<std::vector<size_t>>;
  const auto with = [&](const Groups& groups) {
    const PartitionTree tree = group_tree(groups, 3);
    return estimate(glove, {.method = Method::kOwen, .tree = &tree});
  };
  const Attribution a = with({{0, 1}, {2}});
  EXPECT_THAT(a.phi, Pointwise(DoubleNear(1e-12), {.75, .25, 0.}));
  EXPECT_TRUE(a.exact);
  EXPECT_THAT(with({{0}, {1, 2}}).phi, Pointwise(DoubleNear(1e-12), {.5, .25, .25}));
}

TEST(Owen, NetworkWithColumnsInGroups) {
  // h = ReLU(Σx + {-10, 1, 1, 1}), the answer Σh - 1.
  const auto answer = [](double sum) {
    double total = -1;
    for (const double bias : {-10., 1., 1., 1.}) total += std::max(0.0, sum + bias);
    return total;
  };
  const auto masked = [&](std::array<double, 3> x, std::array<double, 3> baseline) {
    return bit_game(3, [=](size_t s) {
      double sum = 0;
      for (size_t i = 0; i < 3; ++i) sum += ((s >> i) & 1) != 0 ? x[i] : baseline[i];
      return answer(sum);
    });
  };
  const auto exactly = [](Game& game) { return by(Method::kExact, game, 0).phi; };
  auto first = masked({20, 50, 30}, {0, 0, 0});
  EXPECT_THAT(exactly(first), Pointwise(DoubleNear(1e-12), {230. / 3, 590. / 3, 350. / 3}));
  auto moved = masked({20, 50, 30}, {10, 20, 10});
  EXPECT_THAT(exactly(moved), Pointwise(DoubleNear(1e-12), {40., 120., 80.}));
  auto small = masked({2, 10, 3}, {0, 0, 0});
  EXPECT_THAT(exactly(small), Pointwise(DoubleNear(1e-12), {7., 32.5, 10.5}));
  auto grouped = bit_game(
      2, [&](size_t s) { return answer(((s & 1) != 0 ? 70. : 0.) + ((s & 2) != 0 ? 30. : 0.)); });
  EXPECT_THAT(exactly(grouped), Pointwise(DoubleNear(1e-12), {275., 115.}));
}

TEST(Owen, GroupingIsNotSumming) {
  auto all_three = bit_game(3, [](size_t s) { return s == 7; });
  EXPECT_THAT(by(Method::kExact, all_three, 0).phi,
              Pointwise(DoubleNear(1e-12), {1. / 3, 1. / 3, 1. / 3}));
  const PartitionTree tree = group_tree(std::vector<std::vector<size_t>>{{0, 1}, {2}}, 3);
  const Attribution a = estimate(all_three, {.method = Method::kOwen, .tree = &tree});
  EXPECT_NEAR(a.phi[0] + a.phi[1], .5, 1e-12);
}

TEST(Owen, CostOfABalancedTreeAndWhatIsLeftWithoutIt) {
  auto game = network(16, 2);
  const Attribution whole = by(Method::kOwen, game, 1000);
  EXPECT_TRUE(whole.exact);
  EXPECT_EQ(whole.evaluations, 2U + 2 * (16 * 16 - 1) / 3);
  EXPECT_LT(whole.completeness_error(), 1e-12);
  const Attribution cut = by(Method::kOwen, game, 40);
  EXPECT_FALSE(cut.exact);
  EXPECT_LE(cut.evaluations, 40U);
  EXPECT_LT(cut.completeness_error(), 1e-12);
  EXPECT_THAT(cut.note, ::testing::HasSubstr("share their worth evenly"));
}

TEST(Owen, GridsAreHalvedAlongTheLongerSide) {
  const PartitionTree tree = grid_tree(2, 4);
  const auto& root = tree.nodes[tree.root];
  EXPECT_THAT(tree.nodes[root.left].players, ::testing::UnorderedElementsAre(0, 1, 4, 5));
  EXPECT_THROW(group_tree(std::vector<std::vector<size_t>>{{0, 1}, {1}}, 3), Error);
}

TEST(Interactions, OfALearnedFormula) {
  // x0 + 2 x0 x1 - 3 x1 x2 x3: the triple gives each of its pairs half.
  const auto formula = [](size_t s) {
    const auto has = [s](int i) { return static_cast<double>((s >> i) & 1); };
    return has(0) + 2 * has(0) * has(1) - 3 * has(1) * has(2) * has(3);
  };
  auto game = bit_game(4, formula);
  const Interactions exact = interactions(game, {});
  EXPECT_TRUE(exact.exact);
  EXPECT_NEAR(exact.at(0, 1), 2, 1e-12);
  EXPECT_NEAR(exact.at(2, 0), 0, 1e-12);
  EXPECT_NEAR(exact.at(1, 3), -1.5, 1e-12);
  const std::vector<double> phi = by(Method::kExact, game, 0).phi;
  const std::vector<double> shared = exact.shared_out(phi);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(std::accumulate(&shared[i * 4], &shared[i * 4] + 4, 0.0), phi[i], 1e-12);
  }
  auto wide = bit_game(24, formula);
  const Interactions sampled = interactions(wide, {.max_evaluations = 30000});
  EXPECT_FALSE(sampled.exact);
  EXPECT_LE(sampled.evaluations, 30000U);
  EXPECT_NEAR(sampled.at(0, 1), 2, 1e-12);
  EXPECT_GT(sampled.standard_errors[1 * 24 + 2], 0);
  EXPECT_NEAR(sampled.at(1, 2), -1.5, 5 * sampled.standard_errors[1 * 24 + 2]);
}

}  // namespace
}  // namespace quern::explain
