#include "quern/graph/quantized.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "quern/base/random.h"
#include "quern/infer/session.h"
#include "quern/model/decoder.h"
#include "quern/run/quantize.h"

// A model whose weights are quantised, against itself in float32.
namespace quern::infer {
namespace {

class QuantizedSession : public testing::TestWithParam<const char*> {
 protected:
  QuantizedSession() {
    config_.layers = 2;
    config_.heads = 4;
    config_.kv_heads = 2;
    config_.width = 64;
    config_.ffn_width = 96;
    config_.context = 48;
    config_.vocabulary = 257;
    model::apply_preset(config_, GetParam());
    config_.ngram_orders = 2;
    config_.ngram_buckets = 32;
    model::declare_parameters(config_, parameters_);
    parameters_.allocate();
    Random random(9, Stream::kTest);
    for (const auto& info : parameters_.parameters()) {
      const double deviation = info.group == graph::ParameterGroup::kVector ? 0.2 : 0.1;
      const bool norm = info.name.ends_with("weight") && info.shape.rank() == 1;
      for (float& value : parameters_.value(parameters_.find(info.name)).f32_span())
        value = static_cast<float>((norm ? 1 : 0) + deviation * random.normal());
    }
  }

  graph::ParameterStore quantized(DType kind) const {
    model::TraceOptions options;
    options.use = model::TraceOptions::Use::kDecode;
    const auto indices = graph::quantizable_parameters(model::trace(config_, parameters_, options));
    return run::quantize(parameters_, indices, kind).parameters;
  }

  /// Root mean square of a's distance from b, over that of b.
  static double distance(std::span<const float> a, std::span<const float> b) {
    double apart = 0;
    double all = 0;
    for (size_t i = 0; i < b.size(); ++i) {
      apart += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
      all += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(apart / all);
  }

  model::ModelConfig config_;
  graph::ParameterStore parameters_;
};

TEST_P(QuantizedSession, LogitsStayClose) {
  ThreadPool pool(2);
  Random random(1, Stream::kTest, 77);
  std::vector<uint32_t> tokens(31);  // read 16 at once, then four, then one
  for (uint32_t& token : tokens) token = static_cast<uint32_t>(random.below(257));
  Session whole(config_, parameters_, pool);
  const std::span<const float> want = whole.feed(tokens);
  for (const DType kind : {DType::kQ8_0, DType::kQ4_0}) {
    graph::ParameterStore few = quantized(kind);
    for (const graph::ParameterInfo& info : few.parameters())
      EXPECT_EQ(is_quantized(info.dtype), info.shape.rank() == 2 && info.name != "embed.position")
          << info.name;
    Session session(config_, few, pool);
    const double error = distance(session.feed(tokens), want);
    EXPECT_LT(error, kind == DType::kQ8_0 ? 0.02 : 0.4) << name(kind);
    EXPECT_GT(error, kind == DType::kQ8_0 ? 1e-4 : 1e-2) << name(kind);
  }
}

/// The weights that the integers stand for, in float32, give the same but for rounding.
TEST_P(QuantizedSession, AgreesWithItsWeightsInFloat32) {
  ThreadPool pool(2);
  Random random(1, Stream::kTest, 78);
  std::vector<uint32_t> tokens(31);
  for (uint32_t& token : tokens) token = static_cast<uint32_t>(random.below(257));
  for (const DType kind : {DType::kQ8_0, DType::kQ4_0}) {
    graph::ParameterStore few = quantized(kind);
    for (size_t i = 0; i < few.parameters().size(); ++i) {
      const auto index = static_cast<int32_t>(i);
      few.read(index, 0, parameters_.value(index).f32_span());
    }
    Session session(config_, few, pool);
    Session whole(config_, parameters_, pool);
    EXPECT_LT(distance(session.feed(tokens), whole.feed(tokens)), 1e-5) << name(kind);
  }
}

INSTANTIATE_TEST_SUITE_P(Presets, QuantizedSession, testing::Values("gpt2", "llama", "article"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace quern::infer
