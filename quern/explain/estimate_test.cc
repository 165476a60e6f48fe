#include "quern/explain/estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "quern/base/error.h"
#include "quern/explain/exact.h"
#include "quern/explain/explain_testing.h"

// Expected values are worked out by hand, in the textbooks that name the games.
namespace quern::explain {
namespace {

using ::testing::DoubleNear;
using ::testing::Pointwise;

constexpr double kTight = 1e-12;

Attribution exactly(Game& game) { return estimate(game, {.method = Method::kExact}); }

TEST(Exact, ThreePlayersShapleyAndBanzhaf) {
  constexpr std::array v = {10., 4., 3., 9., 2., 8., 7., 15.};  // {}, A, B, AB, C, AC, BC, ABC
  auto game = bit_game(3, [&](size_t s) { return v[s]; });
  const Attribution a = exactly(game);
  EXPECT_THAT(a.phi, Pointwise(DoubleNear(kTight), {8. / 3, 5. / 3, 2. / 3}));
  EXPECT_EQ(a.base, 10);
  EXPECT_EQ(a.value, 15);
  EXPECT_LT(a.completeness_error(), kTight);
  EXPECT_EQ(a.evaluations, 8U);
  EXPECT_THAT(banzhaf(v, 3), Pointwise(DoubleNear(kTight), {7. / 2, 5. / 2, 3. / 2}));
}

TEST(Exact, APairThatPaysTogether) {
  auto game = bit_game(7, [](size_t s) { return std::popcount(s) / 7.0 + ((s & 6) == 6 ? 1 : 0); });
  EXPECT_THAT(exactly(game).phi, Pointwise(DoubleNear(kTight), {1. / 7, 9. / 14, 9. / 14, 1. / 7,
                                                                1. / 7, 1. / 7, 1. / 7}));
}

TEST(Exact, GloveAirportMajorityParity) {
  auto glove = bit_game(3, [](size_t s) { return (s & 1) != 0 && (s & 6) != 0; });
  EXPECT_THAT(exactly(glove).phi, Pointwise(DoubleNear(kTight), {2. / 3, 1. / 6, 1. / 6}));
  auto airport = bit_game(3, [](size_t s) { return std::bit_width(s); });
  EXPECT_THAT(exactly(airport).phi, Pointwise(DoubleNear(kTight), {1. / 3, 5. / 6, 11. / 6}));
  auto majority = bit_game(4, [](size_t s) {
    return 3 * (s & 1) + 2 * ((s >> 1) & 1) + ((s >> 2) & 1) + ((s >> 3) & 1) >= 4;
  });
  EXPECT_THAT(exactly(majority).phi,
              Pointwise(DoubleNear(kTight), {1. / 2, 1. / 6, 1. / 6, 1. / 6}));
  auto parity = bit_game(3, [](size_t s) { return std::popcount(s) % 2; });
  EXPECT_THAT(exactly(parity).phi, Pointwise(DoubleNear(kTight), {1. / 3, 1. / 3, 1. / 3}));
}

TEST(Exact, ElevenPlayersWithDecliningReturns) {
  auto game = bit_game(11, [](size_t bits) {
    const double s = std::popcount(bits);
    return s <= 1 ? 0.0 : s - 0.1 * s * (s - 1) / 2;
  });
  EXPECT_THAT(exactly(game).phi, Pointwise(DoubleNear(kTight), std::vector<double>(11, 0.5)));
}

TEST(Exact, LogicOverAUniformBackground) {
  // The mean of f over the four rows, shown columns taken from x.
  const auto over_background = [](size_t x, bool (*f)(size_t)) {
    return bit_game(2, [x, f](size_t shown) {
      double sum = 0;
      for (size_t row = 0; row < 4; ++row) sum += f((x & shown) | (row & ~shown));
      return sum / 4;
    });
  };
  const auto is_xor = [](size_t r) { return r == 1 || r == 2; };
  const auto is_and = [](size_t r) { return r == 3; };
  auto xor_11 = over_background(3, is_xor), xor_10 = over_background(1, is_xor);
  EXPECT_THAT(exactly(xor_11).phi, Pointwise(DoubleNear(kTight), {-.25, -.25}));
  EXPECT_THAT(exactly(xor_10).phi, Pointwise(DoubleNear(kTight), {.25, .25}));
  EXPECT_NEAR(exactly(xor_11).base, .5, kTight);
  auto and_11 = over_background(3, is_and), and_10 = over_background(1, is_and);
  EXPECT_THAT(exactly(and_11).phi, Pointwise(DoubleNear(kTight), {.375, .375}));
  EXPECT_THAT(exactly(and_10).phi, Pointwise(DoubleNear(kTight), {.125, -.375}));
}

TEST(Exact, RefusesWhatItCannotReach) {
  auto game = bit_game(40, [](size_t) { return 0; });
  try {
    exactly(game);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.code(), "too_many_players");
    EXPECT_THAT(error.what(), ::testing::HasSubstr("40 players takes 2^40 evaluations"));
    EXPECT_THAT(error.hint(), ::testing::HasSubstr("owen"));
  }
}

TEST(Estimate, RefusesALimitThatItCannotKeep) {
  size_t asked = 0;
  auto game = bit_game(20, [&](size_t s) {
    ++asked;
    return std::popcount(s);
  });
  for (const Method method : {Method::kExact, Method::kKernel, Method::kLeverage,
                              Method::kPermutation, Method::kStratified, Method::kAuto}) {
    try {
      estimate(game, {.method = method, .max_evaluations = 5});
      ADD_FAILURE() << method_name(method);
    } catch (const UsageError& error) {
      EXPECT_EQ(error.code(), "too_few_evaluations");
      EXPECT_THAT(error.what(), ::testing::HasSubstr("--max-evals 5"));
    }
  }
  EXPECT_EQ(asked, 0U);
  EXPECT_EQ(estimate(game, {.method = Method::kOwen, .max_evaluations = 5}).evaluations, 4U);
  for (const Method method : {Method::kKernel, Method::kLeverage, Method::kPermutation,
                              Method::kStratified, Method::kOwen}) {
    for (const size_t players : {2U, 3U, 7U}) {
      auto small = bit_game(players, [](size_t s) { return std::sqrt(s); });
      const size_t least = least_evaluations(method, players);
      EXPECT_LE(estimate(small, {.method = method, .max_evaluations = least}).evaluations, least)
          << method_name(method) << " of " << players;
      // A tolerance neither raises the limit nor needs more than it.
      EXPECT_LE(estimate(small, {.method = method, .tolerance = 1e-3, .max_evaluations = least})
                    .evaluations,
                least)
          << method_name(method) << " of " << players;
    }
  }
}

TEST(Estimate, NobodyAndOnePlayer) {
  for (const Method method : {Method::kAuto, Method::kExact, Method::kPermutation}) {
    auto nobody = bit_game(0, [](size_t) { return 3; });
    const Attribution none = estimate(nobody, {.method = method});
    EXPECT_TRUE(none.phi.empty());
    EXPECT_EQ(none.base, 3);
    EXPECT_EQ(none.value, 3);
    auto one = bit_game(1, [](size_t s) { return s == 1 ? 5 : 2; });
    EXPECT_EQ(estimate(one, {.method = method}).phi, std::vector<double>{3});
  }
}

TEST(Estimate, AConstantModelOwesNothingToAnybody) {
  auto game = bit_game(30, [](size_t) { return 0.7; });
  const Attribution a = estimate(game, {});
  EXPECT_EQ(a.phi, std::vector<double>(30, 0.0));
  EXPECT_EQ(a.margins, std::vector<double>(30, 0.0));
  auto small = bit_game(8, [](size_t) { return 0.7; });
  for (const Method method :
       {Method::kExact, Method::kKernel, Method::kLeverage, Method::kPermutation, Method::kOwen,
        Method::kStratified, Method::kLime}) {
    const Attribution b = estimate(small, {.method = method, .max_evaluations = 1000});
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_NEAR(b.phi[i], 0, 1e-12) << method_name(method);
      EXPECT_NEAR(b.margins[i], 0, 1e-12) << method_name(method);
    }
    EXPECT_EQ(b.value, 0.7) << method_name(method);
  }
}

TEST(Estimate, RefusesValuesThatAreNotFinite) {
  auto game =
      bit_game(3, [](size_t s) { return s == 5 ? std::numeric_limits<double>::quiet_NaN() : 1.0; });
  EXPECT_THROW(estimate(game, {}), Error);
}

TEST(Estimate, AutoSaysWhy) {
  EXPECT_EQ(choose_method(10, {}).method, Method::kExact);
  EXPECT_THAT(choose_method(10, {}).reason, ::testing::HasSubstr("1024 coalitions"));
  EXPECT_NE(choose_method(10, {.max_evaluations = 500}).method, Method::kExact);
  EXPECT_NE(choose_method(40, {}).method, Method::kExact);
}

TEST(Estimate, MethodsHaveNames) {
  EXPECT_EQ(parse_method("exact"), Method::kExact);
  EXPECT_EQ(method_name(Method::kPermutation), "permutation");
  EXPECT_THROW(parse_method("magic"), UsageError);
}

TEST(Permutation, ExactForPairs) {
  // Interactions of order two: each pair of walks gives the answer.
  auto game = bit_game(12, [](size_t s) {
    const auto has = [s](int i) { return static_cast<double>((s >> i) & 1); };
    return has(0) + 2 * has(1) * has(5) - 3 * has(2) * has(11);
  });
  const Attribution a = estimate(game, {.method = Method::kPermutation, .max_evaluations = 60});
  EXPECT_THAT(a.phi, Pointwise(DoubleNear(kTight), exactly(game).phi));
  EXPECT_LE(a.evaluations, 60U);
  EXPECT_LT(*std::ranges::max_element(a.margins), kTight);
}

TEST(Permutation, StopsAtTheTolerance) {
  auto game = bit_game(12, [](size_t s) { return std::sqrt(std::popcount(s * 5 % 4096)); });
  const Attribution a =
      estimate(game, {.method = Method::kPermutation, .tolerance = 0.1, .max_evaluations = 100000});
  EXPECT_TRUE(a.converged);
  EXPECT_LT(a.evaluations, 20000U);
  EXPECT_LE(*std::ranges::max_element(a.margins), 0.1);
  const Attribution stricter =
      estimate(game, {.method = Method::kPermutation, .tolerance = 1e-6, .max_evaluations = 1000});
  EXPECT_FALSE(stricter.converged);
}

TEST(StudentT, QuantilesAgreeWithTables) {
  // scipy.stats.t.ppf(.975, n)
  EXPECT_NEAR(student_t975(1), 12.706204736174694, 1e-9);
  EXPECT_NEAR(student_t975(2), 4.302652729749462, 1e-9);
  EXPECT_NEAR(student_t975(3), 3.1824463052837078, 1e-4);
  EXPECT_NEAR(student_t975(4.5), 2.6589123, 1e-3);
  EXPECT_NEAR(student_t975(10), 2.2281388519649385, 1e-5);
  EXPECT_NEAR(student_t975(30), 2.0422724563012373, 1e-6);
  EXPECT_NEAR(student_t975(1e6), 1.9599664, 1e-6);
}

}  // namespace
}  // namespace quern::explain
