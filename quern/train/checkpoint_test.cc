#include "quern/train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <numeric>

#include "quern/base/error.h"

namespace quern::train {
namespace {

using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("quern_checkpoint_test." + std::to_string(getpid()) + "." +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    std::iota(a_.begin(), a_.end(), 1.0F);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<NamedTensor> tensors() {
    return {{"value.a", Shape{2, 3}, a_}, {"m.a", Shape{2, 3}, m_}, {"b", Shape{1}, b_}};
  }
  fs::path save(int64_t step) {
    Progress progress;
    progress.step = step;
    progress.best_loss = 0.1 + 0.2;
    progress.fingerprint = "f";
    return save_checkpoint(folder_, progress, tensors());
  }

  fs::path folder_;
  std::array<float, 6> a_{}, m_{};
  std::array<float, 1> b_{};
};

std::string message(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(CheckpointTest, RestoresEveryBit) {
  a_[1] = -0.0F;
  a_[2] = 1e-42F;
  const auto saved = a_;
  const fs::path path = save(7);
  a_.fill(9);
  const Progress progress = load_checkpoint(path, tensors());
  EXPECT_EQ(std::memcmp(a_.data(), saved.data(), sizeof(saved)), 0);
  EXPECT_EQ(progress.step, 7);
  EXPECT_EQ(progress.best_loss, 0.1 + 0.2);
}

TEST_F(CheckpointTest, KeepsTheLastTwo) {
  for (int64_t step : {8, 9, 10, 11}) save(step);
  EXPECT_FALSE(fs::exists(folder_ / "step-9.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "step-10.safetensors"));
  EXPECT_EQ(find_checkpoint(folder_)->progress.step, 11);
}

TEST_F(CheckpointTest, EveryFlippedByteIsNoticedAndTheOlderOneTaken) {
  save(1);
  const fs::path newest = save(2);
  const std::string good = read_file(newest);
  for (size_t at = 0; at < good.size(); at += 5) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    write_file(newest, bad);
    EXPECT_THROW(load_checkpoint(newest, tensors()), Error) << at;
  }
  write_file(newest, std::string_view(good).substr(0, good.size() - 3));
  std::vector<std::string> damaged;
  EXPECT_EQ(find_checkpoint(folder_, &damaged)->progress.step, 1);
  EXPECT_EQ(damaged.size(), 1U);
}

TEST_F(CheckpointTest, WhatDoesNotFitIsNamedWithBothShapes) {
  const fs::path path = save(1);
  auto other = tensors();
  other[0].shape = Shape{3, 2};
  EXPECT_THAT(message([&] { load_checkpoint(path, other); }),
              testing::AllOf(HasSubstr("value.a"), HasSubstr("(2, 3)"), HasSubstr("(3, 2)")));
  auto renamed = tensors();
  renamed[0].name = "value.c";
  EXPECT_THAT(message([&] { load_checkpoint(path, renamed); }), HasSubstr("value.c"));
  EXPECT_THAT(message([&] { load_checkpoint(path, std::span(other).subspan(1)); }),
              HasSubstr("3 tensors"));
}

TEST_F(CheckpointTest, EmptyFolderHasNone) {
  EXPECT_FALSE(find_checkpoint(folder_).has_value());
  EXPECT_FALSE(find_checkpoint(folder_ / "missing").has_value());
}

}  // namespace
}  // namespace quern::train
