#include "quern/train/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ComparedRun run_of(std::string name, std::map<std::string, double> figures) {
  ComparedRun run;
  run.name = std::move(name);
  run.task = "classify";
  run.fingerprint = "f";
  run.figures = std::move(figures);
  run.options = {{"seed", "1"}, {"train.batch", "32"}};
  return run;
}

const ComparedFigure& figure(const Comparison& comparison, std::string_view name) {
  for (const ComparedFigure& one : comparison.figures)
    if (one.name == name) return one;
  throw std::out_of_range(std::string(name));
}

TEST(Compare, StarsTheBetterByTheScoresDirection) {
  std::vector<ComparedRun> runs = {run_of("a", {{"validation.auc", 0.8},
                                                {"validation.loss", 0.5},
                                                {"validation.coverage@10", 0.2},
                                                {"items_per_second", 5},
                                                {"parameters", 10}}),
                                   run_of("b", {{"validation.auc", 0.9},
                                                {"validation.loss", 0.6},
                                                {"validation.coverage@10", 0.4},
                                                {"items_per_second", 6},
                                                {"parameters", 20}})};
  runs[1].options["train.batch"] = "64";
  const Comparison c = compare(runs);
  EXPECT_EQ(figure(c, "validation.auc").best, 1);
  EXPECT_EQ(figure(c, "validation.loss").best, 0);
  EXPECT_EQ(figure(c, "validation.coverage@10").best, 1);
  EXPECT_EQ(figure(c, "items_per_second").best, 1);
  EXPECT_EQ(figure(c, "parameters").best, -1);
  EXPECT_EQ(c.figures.back().name, "parameters");
  ASSERT_EQ(c.options.size(), 1U);
  EXPECT_THAT(c.options[0].values, ElementsAre("32", "64"));
  EXPECT_TRUE(c.warnings.empty());
}

TEST(Compare, TiesAndLonelyValuesHaveNoBest) {
  const std::vector<ComparedRun> runs = {
      run_of("a", {{"validation.auc", 0.8}}),
      run_of("b", {{"validation.auc", 0.8}, {"validation.f1", 1}})};
  const Comparison c = compare(runs);
  EXPECT_EQ(figure(c, "validation.auc").best, -1);
  EXPECT_EQ(figure(c, "validation.f1").best, -1);
  EXPECT_FALSE(figure(c, "validation.f1").values[0].has_value());
}

TEST(Compare, SaysWhyScoresDoNotCompare) {
  std::vector<ComparedRun> runs = {run_of("a", {}), run_of("b", {}), run_of("c", {}),
                                   run_of("d", {})};
  runs[1].fingerprint = "g";
  runs[2].split = {{"how", "random"}};
  runs[3].task = "regress";
  EXPECT_THAT(compare(runs).warnings,
              ElementsAre(HasSubstr("different data"), HasSubstr("divided the data differently"),
                          HasSubstr("d to regress")));
}

TEST(Compare, SaysWhichKeysChoseOtherRows) {
  const auto warned = [](const std::string& task, const std::string& split, const char* key) {
    std::vector<ComparedRun> runs = {run_of("a", {}), run_of("b", {})};
    for (ComparedRun& run : runs) {
      run.task = task;
      run.options["data.split"] = split;
      run.options[key] = "1";
    }
    runs[1].options[key] = "2";
    return compare(runs).warnings;
  };
  EXPECT_THAT(warned("classify", "auto", "seed"), ElementsAre(HasSubstr("differ in seed:")));
  EXPECT_THAT(warned("classify", "time:day", "seed"), ElementsAre());
  EXPECT_THAT(warned("classify", "auto", "data.target"), ElementsAre(HasSubstr("data.target")));
  EXPECT_THAT(warned("regress", "auto", "data.folds"), ElementsAre(HasSubstr("data.folds")));
  EXPECT_THAT(warned("classify", "auto", "train.batch"), ElementsAre());
  EXPECT_THAT(warned("recommend", "time", "data.validation"), ElementsAre(HasSubstr("validation")));
  EXPECT_THAT(warned("recommend", "last", "data.validation"), ElementsAre());
  EXPECT_THAT(warned("recommend", "last", "seed"), ElementsAre());
  EXPECT_THAT(warned("recommend", "last", "data.min_count"), ElementsAre(HasSubstr("min_count")));
  EXPECT_THAT(warned("generate", "auto", "seed"), ElementsAre());
}

TEST(Compare, SaysWhoseWeightsWereRounded) {
  std::vector<ComparedRun> runs = {run_of("a", {}), run_of("b", {})};
  runs[1].rounded = "q4_0";
  EXPECT_THAT(compare(runs).warnings, ElementsAre(HasSubstr("weights of b are rounded (q4_0)")));
}

TEST(FigureText, IsForPeople) {
  EXPECT_EQ(figure_text(std::nullopt), "-");
  EXPECT_EQ(figure_text(1250000.0), "1,250,000");
  EXPECT_EQ(figure_text(0.90125), "0.9012");
  EXPECT_EQ(figure_text(1234.56), "1235");
}

}  // namespace
}  // namespace quern::train
