#include <gtest/gtest.h>

#include <numeric>

#include "quern/data/check/data_check.h"
#include "quern/data/table_reader.h"

namespace quern::data {
namespace {

TEST(CheckLog, SpreadsTimesOfAnyDistance) {
  const Table table = read_csv_text(
      "user,item,time\nu,a,-9000000000000000\nu,b,9000000000000000\nv,a,0\nv,b,1\n", "log.csv");
  const DataCheck check = check_log(table, {}, silent_reporter());
  const std::vector<Frequency>& stretches = check.columns.at(2).frequencies;
  ASSERT_EQ(stretches.size(), 20U);
  EXPECT_EQ(stretches.front().rows, 1U);
  EXPECT_EQ(stretches[10].rows, 2U);
  EXPECT_EQ(stretches.back().rows, 1U);
}

}  // namespace
}  // namespace quern::data
