#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quern/cli/command.h"
#include "quern/cli/terminal_reporter.h"

namespace quern::cli {
namespace {

using testing::HasSubstr;

struct Outcome {
  int code;
  std::string out, error;
};

std::string slurp(std::FILE* file) {
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  std::fclose(file);
  return text;
}

Outcome quern(std::initializer_list<const char*> arguments) {
  std::vector<const char*> all = {"quern"};
  all.insert(all.end(), arguments);
  Streams streams{stdin, std::tmpfile(), std::tmpfile(), false};
  const int code = run_command_line(all, streams);
  return {code, slurp(streams.out), slurp(streams.error)};
}

TEST(CommandLine, VersionAndHelp) {
  EXPECT_THAT(quern({"--version"}).out, testing::StartsWith("quern "));
  EXPECT_EQ(quern({"--version"}).code, 0);
  EXPECT_TRUE(nlohmann::json::parse(quern({"--version", "--json"}).out).contains("version"));
  EXPECT_THAT(quern({"--help"}).out, HasSubstr("options"));
  EXPECT_THAT(quern({"options", "--help"}).out, HasSubstr("--markdown"));
}

TEST(CommandLine, UsageErrorsNameTheNearest) {
  const Outcome command = quern({"optoins"});
  EXPECT_EQ(command.code, 2);
  EXPECT_THAT(command.error, HasSubstr("'options'"));
  EXPECT_EQ(command.out, "");
  const Outcome option = quern({"options", "--markdwon"});
  EXPECT_EQ(option.code, 2);
  EXPECT_THAT(option.error, HasSubstr("'--markdown'"));
  EXPECT_EQ(quern({}).code, 2);
  EXPECT_EQ(quern({"options", "extra"}).code, 2);
  EXPECT_THAT(quern({"options", "--set", "train.stepz=1"}).error, HasSubstr("'train.steps'"));
  EXPECT_EQ(quern({"options", "--threads", "many"}).code, 2);
}

TEST(CommandLine, ErrorsAreOneLineAndOneObject) {
  for (const auto& outcome :
       {quern({"options", "--json", "--nothing"}), quern({"--json", "nothing"}),
        quern({"options", "--config", "/nowhere/a.toml", "--json"})}) {
    EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
    const auto error = nlohmann::json::parse(outcome.out).at("error");
    EXPECT_FALSE(error.at("code").get<std::string>().empty());
    EXPECT_FALSE(error.at("message").get<std::string>().empty());
  }
  const Outcome cuda = quern({"options", "--device", "cuda"});
  EXPECT_EQ(cuda.code, 1);
  EXPECT_THAT(cuda.error, HasSubstr("CUDA cannot be used"));
}

TEST(CommandLine, FlagsStandAboveAssignmentsAndFiles) {
  const auto result =
      nlohmann::json::parse(quern({"options", "--json", "--seed", "5", "--set", "seed=4"}).out);
  EXPECT_EQ(result["options"][0]["value"], "5");
  EXPECT_EQ(result["options"][0]["decided_by"], "--seed");
  EXPECT_EQ(
      nlohmann::json::parse(quern({"--seed", "6", "--json", "options"}).out)["options"][0]["value"],
      "6");
}

TEST(TerminalReporter, RewritesOneLineOnATerminal) {
  std::FILE* file = std::tmpfile();
  {
    TerminalReporter reporter(file, true);
    reporter.progress("one", false);
    reporter.note("said");
    reporter.progress(std::string(500, 'x'), true);
  }
  const std::string text = slurp(file);
  EXPECT_THAT(text, testing::StartsWith("\rone\x1b[K\r\x1b[Ksaid\n\rxxx"));
  EXPECT_LT(text.size(), 200U);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(TerminalReporter, TakesTheProgressLineAway) {
  std::FILE* file = std::tmpfile();
  {
    TerminalReporter reporter(file, true);
    reporter.clear();
    reporter.progress("one", false);
    reporter.clear();
    reporter.clear();
  }
  EXPECT_EQ(slurp(file), "\rone\x1b[K\r\x1b[K");
}

TEST(TerminalReporter, PlainLinesAreFew) {
  std::FILE* file = std::tmpfile();
  {
    TerminalReporter reporter(file, false);
    for (int i = 0; i < 100; ++i) reporter.progress("step", false);
    reporter.progress("done", true);
  }
  EXPECT_EQ(slurp(file), "step\ndone\n");
}

}  // namespace
}  // namespace quern::cli
