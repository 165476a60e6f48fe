#include "quern/train/row_events.h"

#include <gtest/gtest.h>

namespace quern::train {
namespace {

TEST(PrPoints, CountRowsAtOrAboveEachThreshold) {
  // Class 1's probabilities 0, .5, .5, 1 at the thresholds 0, .5, 1; labels 0, 0, 1, 1.
  const std::vector<float> probabilities = {1, 0, 0.5F, 0.5F, 0.5F, 0.5F, 0, 1};
  const std::vector<int32_t> labels = {0, 0, 1, 1};
  const metrics::Classified c{probabilities, labels, 2, 1, 0.5};
  const std::vector<formats::PrPoint> points = pr_points(c, 1, 3);
  ASSERT_EQ(points.size(), 3U);
  const auto expect = [](const formats::PrPoint& p, double tp, double fp, double tn, double fn) {
    EXPECT_EQ(p.true_positives, tp);
    EXPECT_EQ(p.false_positives, fp);
    EXPECT_EQ(p.true_negatives, tn);
    EXPECT_EQ(p.false_negatives, fn);
  };
  expect(points[0], 2, 2, 0, 0);
  expect(points[1], 2, 1, 1, 0);
  expect(points[2], 1, 0, 2, 1);
}

}  // namespace
}  // namespace quern::train
