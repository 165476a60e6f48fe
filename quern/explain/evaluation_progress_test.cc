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
  void progress(std::string_view line, bool last) override {
    lines.push_back(std::string(line) + (last ? "\n" : ""));
  }
  std::vector<std::string> lines;
};

TEST(EvaluationProgress, TellsLongWorkAndEndsTheLine) {
  Lines told;
  {
    EvaluationProgress progress(&told, 10);
    progress.tell(1);
    EXPECT_THAT(told.lines, IsEmpty());
    std::this_thread::sleep_for(std::chrono::milliseconds(1050));
    progress.tell(2);
  }
  EXPECT_THAT(told.lines,
              ElementsAre(StartsWith("2 of at most 10 evaluations, "), "2 evaluations\n"));
}

TEST(EvaluationProgress, SaysNothingOfShortWork) {
  Lines told;
  { EvaluationProgress(&told, 10).tell(5); }
  EXPECT_THAT(told.lines, IsEmpty());
}

}  // namespace
}  // namespace quern::explain
