#include "quern/explain/evaluation_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace quern::explain {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class Lines : public Reporter {
 public:
  void note(std::string_view line) override { lines.emplace_back(line); }
  void progress(std::string_view line, bool) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

TEST(EvaluationProgress, TellsLongWork) {
  Lines told;
  const EvaluationProgress progress(&told, 10);
  progress.tell(1);
  EXPECT_THAT(told.lines, IsEmpty());
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  progress.tell(2);
  EXPECT_THAT(told.lines, ElementsAre(StartsWith("2 of at most 10 evaluations, ")));
  progress.tell(10);
  EXPECT_EQ(told.lines.size(), 1U) << "the work is done";
}

}  // namespace
}  // namespace quern::explain
