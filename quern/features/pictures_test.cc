#include "quern/features/pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <numeric>
#include <string>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/data/table_reader.h"
#include "quern/formats/png.h"

namespace quern::features {
namespace {

/// A folder with pictures of one colour each and a table that names them.
class Pictures : public testing::Test {
 protected:
  Pictures()
      : folder_(fs::path(testing::TempDir()) /
                ("quern_pictures_test." + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    std::string table = "photo\n";
    for (int i = 0; i < 40; ++i) {
      const std::vector<uint8_t> pixels(8 * 6 * 3, static_cast<uint8_t>(5 * i));
      const std::string name = "p" + std::to_string(i) + ".png";
      write_file(folder_ / name, formats::encode_png({8, 6, 3, pixels}));
      table += name + "\n";
    }
    write_file(folder_ / "t.csv", table + "\"\"\n");  // and a row without
  }
  ~Pictures() override { fs::remove_all(folder_); }

  data::Table read() {
    const fs::path path = folder_ / "t.csv";
    return data::read_table(std::span(&path, 1), {}, silent_reporter());
  }

  fs::path folder_;
};

std::vector<size_t> all(const data::Table& table) {
  std::vector<size_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  return rows;
}

TEST_F(Pictures, TakeTheirSizeAndStatisticsFromTheRows) {
  const data::Table table = read();
  ASSERT_EQ(table.rows(), 41U);
  const PictureFeature feature = fit_pictures(table, "photo", all(table), 0, nullptr);
  EXPECT_EQ(feature.height, 8);
  EXPECT_EQ(feature.width, 6);
  EXPECT_EQ(feature.channels, 3);
  // Of 0, 5 … 195: mean 97.5, variance 25 · (40² - 1) / 12.
  EXPECT_NEAR(feature.mean[1], 97.5 / 255, 1e-9);
  EXPECT_NEAR(feature.deviation[1], std::sqrt(25 * (40.0 * 40 - 1) / 12) / 255, 1e-9);
  EXPECT_EQ(fit_pictures(table, "photo", all(table), 12, nullptr).width, 12);
}

TEST_F(Pictures, AreTheSameByOneThreadAndByMany) {
  const data::Table table = read();
  const PictureFeature feature = fit_pictures(table, "photo", all(table), 5, nullptr);
  const Pixels alone = load_pictures(feature, table, 0, all(table), nullptr);
  ThreadPool pool(3);
  EXPECT_EQ(load_pictures(feature, table, 0, all(table), &pool), alone);
  ASSERT_EQ(alone.size(), 41U * 5 * 5 * 3);
  EXPECT_EQ(alone[7 * 75], 35);
  EXPECT_NEAR(alone[40 * 75], 97.5, 0.5);  // without a picture: the mean colour
}

TEST_F(Pictures, ABrokenOneIsNamed) {
  write_file(folder_ / "p3.png", "\x89PNG\r\n\x1A\nrest");
  const data::Table table = read();
  ThreadPool pool(2);
  const PictureFeature feature{"photo", 4, 4, 3, {}, {1, 1, 1}};
  EXPECT_THAT([&] { load_pictures(feature, table, 0, all(table), &pool); },
              testing::ThrowsMessage<FormatError>(testing::HasSubstr("p3.png")));
}

TEST_F(Pictures, WhatIsNoFileIsNamed) {
  fs::create_directory(folder_ / "folder.png");
  fs::create_symlink("loop.png", folder_ / "loop.png");
  ASSERT_EQ(mkfifo((folder_ / "pipe.png").c_str(), 0600), 0);
  PictureLoader loader(folder_);
  for (const char* name : {"folder.png", "loop.png", "pipe.png", "missing.png", "t.csv/p.png"})
    EXPECT_THAT([&] { loader.load(name); },
                testing::ThrowsMessage<Error>(testing::HasSubstr(name)));
}

}  // namespace
}  // namespace quern::features
