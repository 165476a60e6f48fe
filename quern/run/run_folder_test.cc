#include "quern/run/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/model/decoder.h"

namespace quern::run {
namespace {

using testing::HasSubstr;

class RunFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("quern_run_folder_test." + std::to_string(getpid()) + "." +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    create_run_folder(folder_);
    model::apply_preset(config_, "llama");
    config_.vocabulary = 257;
    config_.layers = 2;
    config_.heads = config_.kv_heads = 2;
    config_.width = 8;
    config_.ffn_width = 16;
    config_.context = 8;
    model::declare_parameters(config_, parameters_);
    parameters_.allocate();
    model::initialise(config_, parameters_, 3);
    save_model(folder_, config_, parameters_);
    features::Tokenizer::byte_level()->save(folder_ / kTokenizerFile);
    Pipeline pipeline;
    pipeline.counts["train.tokens"] = 12;
    write_file(folder_ / kPipelineFile, to_json(pipeline));
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Code, message and hint of the error of loading.
  std::string failure() {
    try {
      load_run(folder_);
    } catch (const Error& error) {
      return error.code() + ": " + error.what() + "; " + error.hint();
    }
    return "no error";
  }

  fs::path folder_;
  model::ModelConfig config_;
  graph::ParameterStore parameters_;
};

TEST_F(RunFolderTest, ReadsBackWhatWasWritten) {
  const run::Run run = load_run(folder_);
  EXPECT_EQ(run.config.width, 8);
  EXPECT_EQ(run.tokenizer->vocabulary(), 257U);
  EXPECT_EQ(run.pipeline.counts.at("train.tokens"), 12U);
  ASSERT_EQ(run.parameters.count(), parameters_.count());
  for (size_t i = 0; i < parameters_.parameters().size(); ++i) {
    const auto index = static_cast<int32_t>(i);
    EXPECT_TRUE(std::ranges::equal(run.parameters.value(index).f32_span(),
                                   parameters_.value(index).f32_span()));
  }
}

TEST_F(RunFolderTest, EqualModelsGiveEqualFiles) {
  const std::string first = read_file(folder_ / kWeightsFile);
  save_model(folder_, config_, parameters_);
  EXPECT_EQ(read_file(folder_ / kWeightsFile), first);
}

TEST_F(RunFolderTest, EveryMissingFileIsNamed) {
  for (const std::string_view name : {kConfigFile, kWeightsFile, kTokenizerFile, kPipelineFile}) {
    const std::string content = read_file(folder_ / name);
    fs::remove(folder_ / name);
    EXPECT_THAT(failure(), testing::AllOf(HasSubstr("file_missing"), HasSubstr(std::string(name))));
    write_file(folder_ / name, content);
  }
  EXPECT_EQ(failure(), "no error");
}

TEST_F(RunFolderTest, TruncatedFilesAreErrors) {
  for (const std::string_view name : {kConfigFile, kWeightsFile, kTokenizerFile, kPipelineFile}) {
    const std::string content = read_file(folder_ / name);
    write_file(folder_ / name, content.substr(0, content.size() / 2));
    EXPECT_THAT(failure(), HasSubstr(std::string(name)));
    write_file(folder_ / name, content);
  }
}

TEST_F(RunFolderTest, NewerVersionIsRefused) {
  std::string pipeline = read_file(folder_ / kPipelineFile);
  pipeline.replace(pipeline.find("\"format\": 1"), 11, "\"format\": 9");
  write_file(folder_ / kPipelineFile, pipeline);
  EXPECT_THAT(failure(), HasSubstr("newer_version"));
}

TEST_F(RunFolderTest, WeightsThatDoNotFitAreNamedWithBothShapes) {
  config_.ffn_width = 24;
  write_file(folder_ / kConfigFile, model::to_json(config_));
  EXPECT_THAT(failure(),
              testing::AllOf(HasSubstr("weights_do_not_fit"), HasSubstr("layers.0.ffn.up.weight"),
                             HasSubstr("(32, 8)"), HasSubstr("(48, 8)")));
  config_.ffn_width = 16;
  config_.layers = 1;
  write_file(folder_ / kConfigFile, model::to_json(config_));
  EXPECT_THAT(failure(), HasSubstr("layers.1."));
}

TEST_F(RunFolderTest, NoRunAtAll) {
  EXPECT_THROW(load_run(folder_ / "nothing"), IoError);
  EXPECT_THROW(load_run(folder_ / kConfigFile), IoError);
  EXPECT_FALSE(is_run_folder(folder_));
  EXPECT_FALSE(is_finished(folder_));
}

}  // namespace
}  // namespace quern::run
