#include "quern/task/item_scores.h"

#include <gtest/gtest.h>

#include <array>

namespace quern::task {
namespace {

TEST(TestedUsers, ItemsThatTrainingNeverSawAreNewUnlessTheLogRepeatsThem) {
  TestedUsers users;
  const std::array<uint32_t, 4> ids = {0, 3, 0, 0}, items = {7, 2, 8, 7};
  users.add(ids, items, 2);  // another unknown item stands before it
  users.add(ids, items, 3);  // it stands before itself
  users.add(ids, items, 1);
  EXPECT_EQ(users.test, (std::vector<uint32_t>{0, 0, 3}));
  EXPECT_EQ(users.new_to_user, (std::vector<bool>{true, false, true}));
  EXPECT_EQ(users.new_items(), 2U);
  EXPECT_EQ(users.histories[1], (std::vector<uint32_t>{3}));
  EXPECT_TRUE(users.histories[2].empty());
}

}  // namespace
}  // namespace quern::task
