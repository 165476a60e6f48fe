#include "quern/infer/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "quern/base/error.h"

namespace quern::infer {
namespace {

// Probabilities .5, .25, .125, .125.
const std::vector<float> kLogits = {std::log(4.0F), std::log(8.0F), std::log(2.0F), std::log(2.0F)};

std::map<uint32_t, double> frequencies(SamplingOptions options,
                                       std::vector<uint32_t> history = {}) {
  constexpr int kDraws = 20000;
  std::map<uint32_t, double> counts;
  std::vector<Candidate> work;
  for (uint64_t i = 0; i < kDraws; ++i) {
    counts[sample(options, kLogits, history, i, work)] += 1.0 / kDraws;
  }
  return counts;
}

SamplingOptions at(double temperature) {
  SamplingOptions options;
  options.temperature = temperature;
  return options;
}

TEST(Sampling, ZeroTemperatureTakesTheLikeliest) {
  std::vector<Candidate> work;
  EXPECT_EQ(sample(at(0), kLogits, {}, 0, work), 1U);
}

TEST(Sampling, TiesGoToTheLowerId) {
  std::vector<Candidate> work;
  const std::vector<float> flat(5, 1.0F);
  EXPECT_EQ(sample(at(0), flat, {}, 0, work), 0U);
  EXPECT_EQ(likeliest(flat, 2)[1].token, 1U);
}

TEST(Sampling, FollowsTheDistribution) {
  const auto f = frequencies(at(1));
  EXPECT_NEAR(f.at(1), 0.5, 0.015);
  EXPECT_NEAR(f.at(0), 0.25, 0.015);
  EXPECT_NEAR(f.at(2), 0.125, 0.015);
  EXPECT_NEAR(f.at(3), 0.125, 0.015);
}

TEST(Sampling, TemperatureTwoTakesSquareRoots) {
  const double a = std::sqrt(0.5), b = std::sqrt(0.25), c = std::sqrt(0.125);
  EXPECT_NEAR(frequencies(at(2)).at(1), a / (a + b + 2 * c), 0.015);
}

TEST(Sampling, TopKKeepsTheLikeliest) {
  SamplingOptions options = at(1);
  options.top_k = 2;
  const auto f = frequencies(options);
  ASSERT_EQ(f.size(), 2U);
  EXPECT_NEAR(f.at(1), 2.0 / 3, 0.015);
  EXPECT_NEAR(f.at(0), 1.0 / 3, 0.015);
}

TEST(Sampling, TopPKeepsTheSmallestSetThatReachesIt) {
  SamplingOptions options = at(1);
  options.top_p = 0.6;  // .5 is not enough, .75 is
  const auto f = frequencies(options);
  ASSERT_EQ(f.size(), 2U);
  EXPECT_NEAR(f.at(1), 2.0 / 3, 0.015);
}

TEST(Sampling, MinPIsRelativeToTheLikeliest) {
  SamplingOptions options = at(1);
  options.min_p = 0.4;  // of .5: .2
  EXPECT_EQ(frequencies(options).size(), 2U);
}

TEST(Sampling, RepetitionPenaltyCountsATokenOnce) {
  SamplingOptions options = at(1);
  options.repetition_penalty = 3;  // log 8 / 3 = log 2
  const auto f = frequencies(options, {1, 1, 1});
  EXPECT_NEAR(f.at(1), 2.0 / 10, 0.015);
}

TEST(Sampling, TheSeedAndThePositionFixTheDraw) {
  SamplingOptions options = at(1);
  std::vector<Candidate> work;
  std::vector<uint32_t> first, again, other;
  for (uint64_t i = 0; i < 64; ++i) first.push_back(sample(options, kLogits, {}, i, work));
  for (uint64_t i = 0; i < 64; ++i) again.push_back(sample(options, kLogits, {}, i, work));
  options.seed = 2;
  for (uint64_t i = 0; i < 64; ++i) other.push_back(sample(options, kLogits, {}, i, work));
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Sampling, LikeliestGivesTheModelsProbabilities) {
  const auto top = likeliest(kLogits, 3);
  ASSERT_EQ(top.size(), 3U);
  EXPECT_EQ(top[0].token, 1U);
  EXPECT_NEAR(top[0].probability, 0.5, 1e-7);
  EXPECT_EQ(top[2].token, 2U);
  EXPECT_EQ(likeliest(kLogits, 99).size(), 4U);
}

TEST(Sampling, EntropyOfTheUniformIsTheLogarithm) {
  EXPECT_NEAR(entropy(probabilities(std::vector<float>(8, 3.0F))), std::log(8.0), 1e-12);
}

TEST(Sampling, RefusesWhatCannotBe) {
  for (const auto& change : std::vector<void (*)(SamplingOptions&)>{
           [](SamplingOptions& o) { o.temperature = -1; },
           [](SamplingOptions& o) { o.temperature = NAN; },
           [](SamplingOptions& o) { o.top_k = -1; }, [](SamplingOptions& o) { o.top_p = 0; },
           [](SamplingOptions& o) { o.top_p = 1.5; }, [](SamplingOptions& o) { o.min_p = 1; },
           [](SamplingOptions& o) { o.repetition_penalty = 0; }}) {
    SamplingOptions options;
    change(options);
    EXPECT_THROW(options.validate(), UsageError);
  }
  EXPECT_NO_THROW(SamplingOptions().validate());
}

}  // namespace
}  // namespace quern::infer
