#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/data/column_types.h"
#include "quern/data/table_reader.h"
#include "quern/explain/diagnosis_html.h"
#include "quern/explain/diagnosis_verdicts.h"

namespace quern::explain {
namespace {

TEST(Drift, StabilityIndexByHand) {
  // Shares 10.5/21, 10.5/21 and 5.5/21, 15.5/21 once half a row is added.
  const std::array<double, 2> before = {10, 10}, after = {5, 15};
  const double p = 0.5, q = 5.5 / 21;
  EXPECT_NEAR(population_stability(before, after),
              (q - p) * std::log(q / p) + (p - q) * std::log((1 - q) / (1 - p)), 1e-12);
  EXPECT_EQ(population_stability(before, before), 0);
}

TEST(Drift, ChanceIsChiSquare) {
  // scipy.stats.chi2.ppf(.999, 9) = 27.877
  EXPECT_NEAR(stability_by_chance(10, 1000, 500) / (1. / 1000 + 1. / 500), 27.877, 0.3);
  EXPECT_EQ(stability_by_chance(1, 10, 10), 0);
}

TEST(Drift, KolmogorovSmirnovByHand) {
  EXPECT_NEAR(kolmogorov_smirnov({1, 2, 3, 4}, {3, 4, 5, 6}), 0.5, 1e-12);
  EXPECT_EQ(kolmogorov_smirnov({1, 1, 2}, {2, 1, 1}), 0);
  EXPECT_TRUE(std::isnan(kolmogorov_smirnov({}, {1})));
}

/// income, city, age and job of random people; `shift` moves the income.
data::Table people(size_t rows, double shift, uint64_t seed) {
  Random random(seed, Stream::kTest);
  std::string csv = "income,city,age,job,answer\n";
  for (size_t i = 0; i < rows; ++i) {
    csv += std::to_string(50 + shift + 10 * random.normal()) + "," +
           (random.below(2) == 0 ? "Bonn" : "北京") + "," + std::to_string(20 + random.below(50)) +
           "," + (random.below(3) == 0 ? "miller" : "baker") + "," +
           (random.below(2) == 0 ? "yes" : "no") + "\n";
  }
  return data::read_csv_text(std::move(csv), "people");
}

std::vector<size_t> all_rows(const data::Table& table) {
  std::vector<size_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  return rows;
}

TEST(Drift, ColumnsThatMovedAreFoundAndOthersAreNot) {
  const data::Table before = people(2000, 0, 1), same = people(500, 0, 2),
                    moved = people(500, 9, 3);
  const std::vector<size_t> train = all_rows(before), rows = all_rows(same);
  const auto encoder =
      features::ColumnEncoder::fit(before, data::infer_types(before, {}), "answer", train);
  for (const ColumnDrift& one : column_drift(encoder, {&before, train}, {&same, rows}, 0.25)) {
    EXPECT_FALSE(one.drifted) << one.name;
    EXPECT_LT(one.stability, one.by_chance) << one.name;
  }
  const auto found = column_drift(encoder, {&before, train}, {&moved, rows}, 0.25);
  EXPECT_EQ(found.front().name, "income");
  EXPECT_TRUE(found.front().drifted);
  EXPECT_NEAR(found.front().ks.value(), 0.35, 0.08);  // 2 Φ(.45) - 1
  for (size_t i = 1; i < found.size(); ++i) EXPECT_FALSE(found[i].drifted) << found[i].name;
  // Few rows are far off by chance alone.
  const data::Table few = people(8, 0, 4);
  const std::vector<size_t> eight = all_rows(few);
  for (const ColumnDrift& one : column_drift(encoder, {&before, train}, {&few, eight}, 0.25)) {
    EXPECT_FALSE(one.drifted) << one.name;
  }
}

TEST(Overlap, CountsTwinsAndNearTwins) {
  const data::Table known = data::read_csv_text("a,b,c,d\n1,2,3,4\n5,6,7,8\n", "known");
  const data::Table fresh =
      data::read_csv_text("d,a,b,c\n4,1,2,3\n9,5,6,7\n0,0,0,0\n8,7,6,5\n", "fresh");
  const std::vector<size_t> two = all_rows(known), four = all_rows(fresh);
  const Overlap found = overlap({"a", "b", "c", "d"}, {&known, two}, {&fresh, four});
  EXPECT_EQ(found.rows, 4U);
  EXPECT_EQ(found.exact, 1U);
  EXPECT_EQ(found.near, 1U);
  EXPECT_THAT(found.example, ::testing::HasSubstr("line 2"));
  EXPECT_EQ(overlap({"a", "b", "c"}, {&known, two}, {&fresh, four}).near, 0U);
}

TEST(Membership, ByHand) {
  const std::vector<double> train = {0.1, 0.2, 0.3, 0.4}, held_out = {0.35, 0.5, 0.6};
  const Membership m = membership(train, held_out, 1);
  EXPECT_NEAR(m.auc.value, 11. / 12, 1e-12);  // of twelve pairs one is the wrong way round
  EXPECT_NEAR(m.gap.value, (0.35 + 0.5 + 0.6) / 3 - 0.25, 1e-12);
  EXPECT_LT(m.gap.low, m.gap.value);
  EXPECT_THROW(membership(train, std::vector<double>{1}, 1), Error);
}

Diagnosis diagnosed(double train_scale, uint64_t seed) {
  Random random(seed, Stream::kTest);
  std::vector<double> train, held_out;
  for (int i = 0; i < 400; ++i) {
    const double loss = std::abs(random.normal());
    (i % 2 == 0 ? train : held_out).push_back(i % 2 == 0 ? loss * train_scale : loss);
  }
  Diagnosis d;
  d.held_out = "validation";
  d.compared = "validation rows";
  d.drift_limit = 0.25;
  d.membership = membership(train, held_out, 1);
  judge(d);
  return d;
}

TEST(Verdict, FollowsTheEvidence) {
  EXPECT_EQ(diagnosed(1, 1).overfit, Overfit::kNone);
  const Diagnosis d = diagnosed(0.1, 1);
  EXPECT_EQ(d.overfit, Overfit::kOverfits);
  EXPECT_THAT(d.verdicts.front(), ::testing::HasSubstr("overfits"));
  EXPECT_FALSE(d.drifted());
}

TEST(Verdict, CalibrationAndDriftInWordsAndOnAPage) {
  Diagnosis d = diagnosed(1, 2);
  // Brier .0905 and log loss .34971 of five rows, worked out by hand.
  const std::vector<float> p = {.75F, .25F, .75F, .25F, .45F, .55F, .25F, .75F, .25F, .75F};
  const std::vector<int32_t> labels = {0, 0, 1, 1, 1};
  const metrics::Classified c{p, labels, 2, 1, 0.5};
  EXPECT_NEAR(metrics::brier(c), .0905, 1e-7);
  EXPECT_NEAR(metrics::log_loss(c), .34971, 5e-6);
  Calibration calibration;
  calibration.of = "new rows";
  calibration.rows = 5;
  calibration.temperature_left = 2;
  calibration.scores = {{"ece", {.29, .2, .4}}};
  calibration.bins = metrics::reliability(c, 1);
  calibration.bins_of = "<yes>";
  d.calibration = calibration;
  d.compared = "new rows";
  ColumnDrift income;
  income.name = "income";
  income.stability = .5;
  income.by_chance = .1;
  income.drifted = true;
  d.drift = {income};
  judge(d);
  EXPECT_TRUE(d.drifted());
  EXPECT_THAT(d.verdicts, ::testing::Contains(::testing::HasSubstr("too sure of itself")));
  EXPECT_THAT(d.verdicts.back(), ::testing::HasSubstr("income (0.500)"));
  const std::string page = diagnosis_html(d);
  EXPECT_THAT(page, ::testing::HasSubstr("&lt;yes&gt;"));
  EXPECT_THAT(page, ::testing::HasSubstr("over the limit"));
  EXPECT_THAT(page, ::testing::Not(::testing::HasSubstr("<script")));
}

TEST(Verdict, TemperatureOfAConstantLogit) {
  // Logit 2 for the right class three times of four: T = 2 / ln 3.
  std::vector<float> p;
  std::vector<int32_t> labels;
  const auto sure = static_cast<float>(1 / (1 + std::exp(-2.0)));
  for (int i = 0; i < 400; ++i) {
    p.insert(p.end(), {1 - sure, sure});
    labels.push_back(i % 4 == 0 ? 0 : 1);
  }
  EXPECT_NEAR(metrics::fit_temperature({p, labels, 2, 1, 0.5}), 1.82048, 2e-3);
}

}  // namespace
}  // namespace quern::explain
