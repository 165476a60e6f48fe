#include "quern/task/text_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "quern/tensor/buffer.h"

namespace quern::task {
namespace {

/// Token i is i, so a window shows where it was cut.
TokenStream counting(uint64_t tokens) {
  return {tokens, [](uint64_t begin, std::span<uint32_t> out) {
            std::iota(out.begin(), out.end(), static_cast<uint32_t>(begin));
          }};
}

struct Batch {
  Batch(int64_t rows, int64_t length)
      : ids(static_cast<size_t>(rows * length) * 4),
        targets(static_cast<size_t>(rows * length) * 4) {
    view.ids = {ids.data(), {DType::kI32, {rows, length}}};
    view.targets = {targets.data(), {DType::kI32, {rows, length}}};
  }
  Buffer ids, targets;
  WindowBatch view;
};

TEST(Permute, IsAPermutationAndChangesWithTheRound) {
  for (const uint64_t count : {1U, 2U, 3U, 7U, 64U, 1000U, 4097U}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < count; ++i) seen.insert(permute(i, count, 5, 0));
    EXPECT_EQ(seen.size(), count);
    EXPECT_EQ(*seen.rbegin(), count - 1);
  }
  int same = 0;
  for (uint64_t i = 0; i < 1000; ++i) same += permute(i, 1000, 5, 0) == permute(i, 1000, 5, 1);
  EXPECT_LT(same, 20);
}

TEST(TrainingWindows, AnEpochTakesEachWindowOnce) {
  TrainingWindows windows(counting(1000), 16, 3);
  std::set<uint64_t> first;
  std::set<uint64_t> second;
  for (uint64_t i = 0; i < windows.windows(); ++i) {
    first.insert(windows.offset_of(i));
    second.insert(windows.offset_of(windows.windows() + i));
  }
  EXPECT_EQ(first.size(), windows.windows());
  uint64_t last = 0;
  for (uint64_t offset : first) {
    EXPECT_TRUE(last == 0 || offset == *first.begin() || offset - last == 16);
    last = offset;
  }
  EXPECT_LE(last + 16, 999U);
  EXPECT_NE(*first.begin() % 16, *second.begin() % 16);  // holds for this seed
}

TEST(TrainingWindows, TargetsFollowTheInputs) {
  TrainingWindows windows(counting(500), 8, 1);
  Batch batch(4, 8);
  windows.fill(10, batch.view);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t i = 0; i < 8; ++i) {
      const auto at = static_cast<size_t>(row * 8 + i);
      EXPECT_EQ(batch.view.targets.i32()[at], batch.view.ids.i32()[at] + 1);
    }
    EXPECT_EQ(static_cast<uint64_t>(batch.view.ids.i32()[row * 8]),
              windows.offset_of(10 + static_cast<uint64_t>(row)));
  }
}

TEST(TrainingWindows, ShortStreamIsPadded) {
  TrainingWindows windows(counting(5), 8, 1);
  EXPECT_EQ(windows.targets_per_window(), 4);
  Batch batch(1, 8);
  windows.fill(7, batch.view);
  EXPECT_EQ(batch.view.targets.i32()[3], 4);
  EXPECT_EQ(batch.view.targets.i32()[4], -1);
}

TEST(TrainingWindows, TokenDropoutChangesInputsAtItsRate) {
  TrainingWindows windows(counting(100000), 1000, 1);
  Batch plain(10, 1000);
  Batch noisy(10, 1000);
  windows.fill(0, plain.view);
  windows.fill(0, noisy.view, {0.25, 1 << 20});
  int changed = 0;
  for (int64_t i = 0; i < 10000; ++i) {
    changed += plain.view.ids.i32()[i] != noisy.view.ids.i32()[i];
    EXPECT_EQ(plain.view.targets.i32()[i], noisy.view.targets.i32()[i]);
  }
  EXPECT_NEAR(changed, 2500, 130);  // three standard deviations
}

TEST(EvaluationWindows, EveryTokenButTheFirstIsPredictedOnce) {
  EvaluationWindows windows(counting(103), 10);
  Batch batch(4, 10);
  std::multiset<int32_t> predicted;
  for (uint64_t first = 0; first < windows.windows(); first += 4) {
    int64_t valid = 0;
    const int64_t counted = windows.fill(first, 1, batch.view);
    for (int32_t target : batch.view.targets.i32_span()) {
      if (target < 0) continue;
      predicted.insert(target);
      ++valid;
    }
    EXPECT_EQ(valid, counted);
  }
  EXPECT_EQ(predicted.size(), 102U);
  EXPECT_EQ(std::set<int32_t>(predicted.begin(), predicted.end()).size(), 102U);
  EXPECT_EQ(*predicted.begin(), 1);
}

}  // namespace
}  // namespace quern::task
