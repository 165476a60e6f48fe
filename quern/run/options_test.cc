#include "quern/run/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/base/error.h"

namespace quern::run {
namespace {

using testing::HasSubstr;

std::string usage_message(auto&& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return std::string(error.what()) + " " + error.hint();
  }
  return "no error";
}

TEST(Options, StrongerLayerWinsInAnyOrder) {
  Options options;
  options.set("model.width", "96", Layer::kPreset, "preset gpt2");
  options.set("model.width", "128", Layer::kSize, "size small");
  EXPECT_EQ(options.integer("model.width"), 96);
  EXPECT_EQ(options.who("model.width"), "preset gpt2");
  options.assign("model.width=64");
  options.set("model.width", "96", Layer::kPreset, "preset gpt2");
  EXPECT_EQ(options.integer("model.width"), 64);
  EXPECT_EQ(options.who("model.width"), "--set");
}

TEST(Options, UnknownKeyNamesTheNearest) {
  Options options;
  EXPECT_THAT(usage_message([&] { options.assign("train.learning_rat=1"); }),
              HasSubstr("'train.learning_rate'"));
  EXPECT_THAT(usage_message([&] { options.assign("learning_rate=1"); }),
              HasSubstr("'train.learning_rate'"));
  EXPECT_THAT(usage_message([&] { options.parse("[trian]\nsteps = 3\n", "a.toml"); }),
              HasSubstr("a.toml:1"));
}

TEST(Options, FileErrorsNameTheLine) {
  Options options;
  EXPECT_THAT(usage_message([&] { options.parse("seed = 1\n[train]\nsteps = 'x'\n", "a.toml"); }),
              testing::AllOf(HasSubstr("a.toml:3"), HasSubstr("train.steps")));
  EXPECT_THAT(usage_message([&] { options.parse("seed = = 1", "a.toml"); }), HasSubstr("a.toml:1"));
  EXPECT_THAT(usage_message([&] { options.parse("seed = 1\n[=d]", "a.toml"); }),
              HasSubstr("a.toml"));
  EXPECT_THAT(usage_message([&] { options.parse("seed = 1\nséed = 2", "a.toml"); }),
              HasSubstr("a.toml:2:2"));
  EXPECT_THAT(usage_message([&] { options.parse("[data]\ntarget = \"a", "a.toml"); }),
              HasSubstr("a.toml:2"));
  EXPECT_THAT(usage_message([&] { options.parse("[train]\nsteps = [1]\n", "a.toml"); }),
              HasSubstr("lists"));
}

TEST(Options, ValuesAreChecked) {
  Options options;
  EXPECT_THAT(usage_message([&] { options.assign("train.steps=-1"); }), HasSubstr("from 0"));
  EXPECT_THAT(usage_message([&] { options.assign("train.steps=1.5"); }), HasSubstr("whole number"));
  EXPECT_THAT(usage_message([&] { options.assign("train.clip=nan"); }), HasSubstr("number"));
  EXPECT_THAT(usage_message([&] { options.assign("train.schedule=cosin"); }),
              HasSubstr("'cosine'"));
  EXPECT_THAT(usage_message([&] { options.assign("train.time=10"); }), HasSubstr("10"));
}

TEST(Options, ResolvedFileReadsBackTheSame) {
  Options options;
  options.parse(R"(seed = 7
[data]
target = "a \"b\" \\ c"
types = {"x y" = "number"}
[train]
learning_rate = 3e-4
time = "10m"
)",
                "a.toml");
  options.set("model.width", int64_t{96}, Layer::kSize, "small");
  const std::string toml = options.to_toml();
  EXPECT_THAT(toml, HasSubstr("# explicit: a.toml:6"));
  EXPECT_THAT(toml, HasSubstr("# size: small"));
  const Options back = Options::from_resolved(toml, "resolved");
  for (const OptionInfo& info : option_table()) {
    EXPECT_EQ(back.text(info.key), options.text(info.key));
    EXPECT_EQ(back.layer(info.key), options.layer(info.key));
    EXPECT_EQ(back.who(info.key), options.who(info.key));
  }
  EXPECT_DOUBLE_EQ(back.number("train.learning_rate"), 3e-4);
}

TEST(Options, NoKeyIsIgnored) {
  Options options;
  options.assign("regularise.ensemble=4");
  EXPECT_THAT(usage_message([&] { options.refuse_unused("generate"); }),
              HasSubstr("regularise.ensemble"));
  options.refuse_unused("classify");
}

TEST(Options, MarkdownHasOneRowAKey) {
  const std::string table = options_markdown();
  EXPECT_EQ(static_cast<size_t>(std::count(table.begin(), table.end(), '\n')),
            option_table().size() + 2);
}

}  // namespace
}  // namespace quern::run
