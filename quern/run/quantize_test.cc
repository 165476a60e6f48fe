#include "quern/run/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "quern/base/error.h"
#include "quern/formats/safetensors.h"
#include "quern/graph/quantized.h"
#include "quern/model/decoder.h"
#include "quern/run/run_folder.h"

namespace quern::run {
namespace {

using testing::HasSubstr;

class QuantizeTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("quern_quantize_test." + std::to_string(getpid()));
    fs::remove_all(root_);
    create_run_folder(folder_ = root_ / "run");
    made_ = root_ / "made";
    model::apply_preset(config_, "gpt2");
    config_.vocabulary = 257;
    config_.layers = 2;
    config_.heads = config_.kv_heads = 2;
    config_.width = 32;
    config_.ffn_width = 64;
    config_.context = 8;
    write_model();
    features::Tokenizer::byte_level()->save(folder_ / kTokenizerFile);
    write_file(folder_ / kPipelineFile, to_json(Pipeline()));
    write_file(folder_ / kMetricsFile, "{}\n");
    write_file(folder_ / kCardFile, "# A model\n");
    fs::create_directories(folder_ / "folds" / "1" / kCheckpointFolder);
    write_file(folder_ / "folds" / "1" / kLogFile, "a line\n");
    write_file(folder_ / kCheckpointFolder / "step-1.safetensors", "large");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write_model() {
    parameters_ = graph::ParameterStore();
    model::declare_parameters(config_, parameters_);
    parameters_.allocate();
    model::initialise(config_, parameters_, 3);
    save_model(folder_, config_, parameters_);
  }

  /// Code, message and hint of the error.
  template <typename Act>
  static std::string failure(const Act& act) {
    try {
      act();
    } catch (const Error& error) {
      return error.code() + ": " + error.what() + "; " + error.hint();
    }
    return "no error";
  }
  std::string load_failure() const {
    return failure([&] { load_run(made_); });
  }

  /// The weights of made_ written again, after `change`.
  using Tensors = std::map<std::string, formats::TensorData>;
  template <typename Change>
  void rewrite(const Change& change) const {
    const std::string original = read_file(made_ / kWeightsFile);
    const fs::path copy = root_ / "original.safetensors";
    write_file(copy, original);
    const formats::SafetensorsFile file(copy);
    Tensors tensors;
    for (const formats::TensorEntry& entry : file.tensors())
      tensors[entry.name] = {entry.name, entry.dtype, entry.shape, file.data(entry)};
    std::map<std::string, std::string> metadata = file.metadata();
    change(tensors, metadata);
    std::vector<formats::TensorData> list;
    for (const auto& [name, tensor] : tensors) list.push_back(tensor);
    formats::write_safetensors(made_ / kWeightsFile, list, metadata);
    EXPECT_NE(load_failure(), "no error");
  }

  fs::path root_, folder_, made_;
  model::ModelConfig config_;
  graph::ParameterStore parameters_;
};

TEST_P(QuantizeTest, TheRunIsReadAsWhatItsWeightsRoundTo) {
  const QuantizedRun made = quantize_run(folder_, made_, GetParam());
  const run::Run run = load_run(made_);
  EXPECT_EQ(run.parameters.count(), parameters_.count());
  EXPECT_EQ(run.parameters.quantized(), GetParam());
  EXPECT_EQ(quantization_of(made_), GetParam());
  EXPECT_EQ(quantization_of(folder_), DType::kF32);
  int64_t quantized = 0;
  for (size_t i = 0; i < parameters_.parameters().size(); ++i) {
    const auto index = static_cast<int32_t>(i);
    const graph::ParameterInfo& info = run.parameters.parameters()[i];
    SCOPED_TRACE(info.name);
    const bool fits = info.name.ends_with("weight") && info.shape.rank() == 2;
    EXPECT_EQ(info.dtype, fits ? GetParam() : DType::kF32);
    const std::span<const float> from = parameters_.value(index).f32_span();
    std::vector<float> read(from.size());
    run.parameters.read(index, 0, read);
    if (!fits) {
      EXPECT_TRUE(std::ranges::equal(read, from));
      continue;
    }
    quantized += info.shape.elements();
    const TensorType type{GetParam(), info.shape};
    EXPECT_EQ(run.parameters.value(index).type, type);
    std::vector<std::byte> want(type.bytes());
    kernels::QuantizedMatrix matrix = graph::quantized_matrix({want.data(), type});
    kernels::quantize(from.data(), matrix, want.data());
    EXPECT_EQ(0, std::memcmp(run.parameters.value(index).data, want.data(), want.size()));
    for (size_t k = 0; k < read.size(); ++k) {
      const auto at = static_cast<int64_t>(k);
      EXPECT_EQ(read[k], matrix.weight(at / matrix.columns, at % matrix.columns));
    }
  }
  EXPECT_EQ(made.weights.quantized_parameters, quantized);
  EXPECT_GT(quantized, parameters_.count() * 9 / 10);
}

TEST_P(QuantizeTest, TheFolderHoldsAllButWhatTrainingGoesOnFrom) {
  const QuantizedRun made = quantize_run(folder_, made_, GetParam());
  for (const std::string_view name : {kConfigFile, kTokenizerFile, kPipelineFile, kMetricsFile})
    EXPECT_EQ(read_file(made_ / name), read_file(folder_ / name));
  EXPECT_THAT(read_file(made_ / kCardFile),
              testing::AllOf(testing::StartsWith("# A model\n"),
                             HasSubstr(GetParam() == DType::kQ8_0 ? "8 bits" : "4 bits")));
  EXPECT_TRUE(fs::exists(made_ / "folds" / "1" / kLogFile));
  EXPECT_FALSE(fs::exists(made_ / "folds" / "1" / kCheckpointFolder));
  EXPECT_FALSE(fs::exists(made_ / kCheckpointFolder));
  EXPECT_EQ(made.bytes, fs::file_size(made_ / kWeightsFile));
  EXPECT_LT(made.bytes, made.bytes_before / (GetParam() == DType::kQ8_0 ? 3 : 4));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 2);
  // Reading and writing again gives the same bytes.
  const std::string bytes = read_file(made_ / kWeightsFile);
  save_weights(made_, load_run(made_).parameters);
  EXPECT_EQ(read_file(made_ / kWeightsFile), bytes);
}

TEST_P(QuantizeTest, ErrorsAreThoseOfTheBits) {
  const QuantizedRun made = quantize_run(folder_, made_, GetParam());
  EXPECT_EQ(made.weights.tensors.size() + made.weights.kept.size(),
            parameters_.parameters().size());
  // Of normal weights in blocks of 32: 127 or 8 steps reach to about 2.1 deviations, and a step's
  // error is its twelfth root.
  const double want = 2.1 / (GetParam() == DType::kQ8_0 ? 127 : 8) / std::sqrt(12.0);
  for (const QuantizedTensor& tensor : made.weights.tensors)
    EXPECT_NEAR(tensor.error, want, 0.25 * want) << tensor.name;
}

/// Scales of half precision end at 6e-8.
TEST_P(QuantizeTest, WeightsTooSmallForAScaleStay) {
  for (float& weight : parameters_.value(parameters_.find("embed.weight")).f32_span())
    weight *= 1e-8F;
  save_weights(folder_, parameters_);
  const QuantizedRun made = quantize_run(folder_, made_, GetParam());
  EXPECT_THAT(made.weights.kept, testing::Contains("embed.weight"));
  const run::Run run = load_run(made_);
  EXPECT_EQ(run.parameters.value(run.parameters.find("embed.weight")).type.dtype, DType::kF32);
  EXPECT_EQ(run.parameters.quantized(), GetParam());
}

TEST_P(QuantizeTest, WhatCannotBeQuantisedIsRefused) {
  quantize_run(folder_, made_, GetParam());
  EXPECT_THAT(failure([&] { quantize_run(folder_, made_, GetParam()); }), HasSubstr("run_exists"));
  EXPECT_THAT(failure([&] { quantize_run(made_, root_ / "again", GetParam()); }),
              HasSubstr("quantized"));
  graph::ParameterStore read = load_run(made_).parameters;
  EXPECT_THAT(failure([&] { read.allocate_gradients(); }), HasSubstr("quantized"));
  EXPECT_THAT(failure([&] { quantize_run(root_ / "none", root_ / "x", GetParam()); }),
              HasSubstr("no such run folder"));
  parameters_.value(parameters_.find("layers.1.ffn.up.weight")).f32()[3] = NAN;
  save_weights(folder_, parameters_);
  EXPECT_THAT(failure([&] { quantize_run(folder_, root_ / "x", GetParam()); }),
              testing::AllOf(HasSubstr("not_finite"), HasSubstr("layers.1.ffn.up.weight")));
  config_.width = 24;
  config_.ffn_width = 40;
  write_model();
  EXPECT_THAT(failure([&] { quantize_run(folder_, root_ / "x", GetParam()); }),
              HasSubstr("nothing_to_quantize"));
  config_.ffn_width = 64;
  write_model();
  quantize_run(folder_, root_ / "x", GetParam());
  const run::Run partly = load_run(root_ / "x");
  for (const graph::ParameterInfo& info : partly.parameters.parameters())
    EXPECT_EQ(is_quantized(info.dtype), info.name.ends_with("ffn.down.weight")) << info.name;
}

TEST_P(QuantizeTest, DamagedWeightsAreNamed) {
  quantize_run(folder_, made_, GetParam());
  const std::string name = "layers.0.attention.qkv.weight";
  rewrite([&](Tensors& tensors, auto&) { tensors.erase(name + ".scales"); });
  EXPECT_THAT(load_failure(), HasSubstr(name + ".scales"));
  fs::remove_all(made_);

  quantize_run(folder_, made_, GetParam());
  std::vector<std::byte> scales;
  rewrite([&](Tensors& tensors, auto&) {
    formats::TensorData& tensor = tensors[name + ".scales"];
    scales.assign(tensor.data.begin(), tensor.data.end());
    const kernels::Float16 infinite = 1e30F;
    std::memcpy(scales.data() + 8, &infinite, sizeof(infinite));
    tensor.data = scales;
  });
  EXPECT_THAT(load_failure(), testing::AllOf(HasSubstr("not a number"), HasSubstr(name)));
  fs::remove_all(made_);

  quantize_run(folder_, made_, GetParam());
  rewrite([&](Tensors&, auto& metadata) {
    metadata["quantization"] = GetParam() == DType::kQ8_0 ? "Q4_0" : "Q8_0";
  });
  EXPECT_THAT(load_failure(), HasSubstr("weights_do_not_fit"));
  fs::remove_all(made_);

  quantize_run(folder_, made_, GetParam());
  rewrite([&](Tensors&, auto& metadata) { metadata.erase("quantization"); });
  EXPECT_THAT(load_failure(), HasSubstr("weights_do_not_fit"));
  fs::remove_all(made_);

  quantize_run(folder_, made_, GetParam());
  rewrite([&](Tensors&, auto& metadata) { metadata["quantization"] = "Q5_K"; });
  EXPECT_THAT(load_failure(), HasSubstr("unknown way"));
  fs::remove_all(made_);

  quantize_run(folder_, made_, GetParam());
  rewrite([&](Tensors& tensors, auto&) {
    tensors["norm.scales"] = tensors[name + ".scales"];
    tensors["norm.scales"].name = "norm.scales";
  });
  EXPECT_THAT(load_failure(), HasSubstr("norm.scales"));
}

INSTANTIATE_TEST_SUITE_P(Kinds, QuantizeTest, testing::Values(DType::kQ8_0, DType::kQ4_0),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace quern::run
