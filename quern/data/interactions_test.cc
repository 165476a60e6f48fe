#include "quern/data/interactions.h"

#include "quern/data/table_reader.h"
#include "quern/data/test_support.h"

namespace quern::data {
namespace {

Interactions read(const std::string& text, const LogColumns& said = {}) {
  return read_interactions(read_csv_text(text, "log.csv"), said, silent_reporter());
}
std::string joined(const Interactions& log, size_t user) {
  std::string out;
  for (const uint32_t item : log.items_of(user)) out += log.items[item] + " ";
  return out;
}

TEST(Interactions, SortsEachUserByTimeAndKeepsTheFilesOrderWithinATime) {
  const Interactions log = read(
      "Customer ID,StockCode,when\nu1,a,1600000300\nu2,b,1600000100\nu1,c,1600000100\n"
      "u1,d,1600000100\nu2,a,1600000050\n");
  EXPECT_EQ(log.columns.user, "Customer ID");
  EXPECT_EQ(log.columns.time, "when");
  EXPECT_EQ(joined(log, 0), "c d a ");
  EXPECT_EQ(joined(log, 1), "a b ");
}

TEST(Interactions, ReadsDatesOfEitherStyle) {
  const Interactions log =
      read("user_id,item_id,date\nu,a,12/31/2020\nu,b,01/02/2020\nv,a,03/04/2020\n");
  EXPECT_EQ(joined(log, 0), "b a ");
}

TEST(Interactions, TakesTheFilesOrderWithoutTimes) {
  const Interactions log = read("user,item\nu,b\nv,a\nu,a\nu,\n");
  EXPECT_EQ(joined(log, 0), "b a ");
  EXPECT_EQ(log.left_out, 1U);
}

std::string time_column(const std::string& text, const LogColumns& said = {}) {
  return read(text, said).columns.time;
}

TEST(Interactions, TakesNumbersOfRecentYearsForTimesButNoBarcodes) {
  const auto log_of = [](const std::vector<std::string>& numbers) {
    std::string text = "user,item,n\n";
    for (size_t i = 0; i < 4 * numbers.size(); ++i) {
      const std::string which = std::to_string(i % numbers.size());
      text += "u" + std::to_string(i % 3) + ",i" + which + "," + numbers[i % numbers.size()] + "\n";
    }
    return text;
  };
  const std::string seconds = "user,item,n\nu,a,1600000003\nu,b,1600000002\nv,a,1600000001\n";
  EXPECT_EQ(time_column(seconds), "n");
  EXPECT_EQ(joined(read(seconds), 0), "b a ");
  EXPECT_EQ(time_column("user,item,n\nu,a,1600000003000\nv,a,1600000002000\n"), "n");
  EXPECT_EQ(time_column("user,item,n\nu,a,1600000003000000\nv,a,1600000002000000\n"), "n");
  EXPECT_EQ(time_column("user,item,n\nu,a,1600000003\nv,a,1600000002000\n"), "");  // two units
  EXPECT_EQ(time_column("user,item,n\nu,a,4006381333931\nv,a,4006381333948\n"), "");
  EXPECT_EQ(time_column(log_of({"1200000000017", "1200000000024", "1200000000031"})), "");
  EXPECT_EQ(time_column(log_of({"2020-01-01", "2021-05-06", "2022-07-08"})), "");  // published
  EXPECT_EQ(time_column(seconds, {"", "", "none"}), "");
  EXPECT_EQ(joined(read(seconds, {"", "", "none"}), 0), "a b ");
  EXPECT_EQ(time_column("user,item,none\nu,a,3\nv,a,2\n", {"", "", "none"}), "none");
}

TEST(Interactions, SaysWhatIsWrong) {
  EXPECT_NE(error_of([] { read("a,b\n1,2\n"); }).find("data.user"), std::string::npos);
  EXPECT_NE(error_of([] { read("user,item,time\nu,a,soon\n", {}); }).find("line 2"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              read("user,item\nu,a\n", {"usr", "", ""});
            }).find("did you mean user"),
            std::string::npos);
  EXPECT_EQ(error_of([] { require_learnable(read("user,item\nu,a\nu,a\n")); }).substr(0, 9),
            "one_user:");
  EXPECT_EQ(error_of([] { require_learnable(read("user,item\nu,a\nv,a\n")); }).substr(0, 9),
            "one_item:");
  EXPECT_EQ(error_of([] { require_learnable(read("user,item\nu,a\nv,b\n")); }).substr(0, 11),
            "no_repeats:");
}

TEST(Interactions, LeavesOutRareItemsAndWhoTookNothingElse) {
  Interactions log =
      read("user,item,time\nu,a,1600000001\nu,b,1600000002\nv,c,1600000003\nw,b,1600000004\n");
  EXPECT_EQ(leave_out_rare(log, 1, silent_reporter()).size(), 0U);
  EXPECT_EQ(leave_out_rare(log, 2, silent_reporter()), (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(log.items, std::vector<std::string>{"b"});
  EXPECT_EQ(log.users, (std::vector<std::string>{"u", "w"}));
  EXPECT_EQ(joined(log, 0), "b ");
  EXPECT_EQ(log.times_of(1)[0], 1600000004000);
  EXPECT_NE(error_of([&] { leave_out_rare(log, 3, silent_reporter()); }).find("rare_items"),
            std::string::npos);
}

TEST(Interactions, NamesTheRowOfASlip) {
  for (const char* good : {"1600000000", "31/12/2020", "12/31/2020"}) {
    std::string text = "user,item,time\n";
    for (int i = 0; i < 6; ++i) text += std::string("u,a,") + (i == 3 ? "soon" : good) + "\n";
    const std::string message = error_of([&] { read(text); });
    EXPECT_NE(message.find("line 5: 'soon'"), std::string::npos) << message;
  }
}

TEST(Interactions, RefusesTimesThatAreNone) {
  for (const char* time : {"2024-13-45", "2024-02-30", "1e999", "99999999999999999", "soon", ""}) {
    const std::string message = error_of([&] {
      read(std::string("user,item,time\nu,a,2024-01-01\nv,b,") + time + "\nw,a,2024-01-03\n");
    });
    EXPECT_NE(message.find("line 3"), std::string::npos) << time << ": " << message;
    EXPECT_NE(message.find("is no time"), std::string::npos) << time << ": " << message;
  }
}

}  // namespace
}  // namespace quern::data
