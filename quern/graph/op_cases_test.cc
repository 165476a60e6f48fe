#include "quern/graph/op_cases.h"

#include <fmt/format.h>

#include <cmath>

// Not tests themselves: the list that op_table_test.cc walks.
namespace quern::graph::testing {
namespace {

using Fill = InputSpec::Fill;

InputSpec normal(Shape shape, float scale = 1) {
  return {.fill = Fill::kNormal, .type = {DType::kF32, shape}, .scale = scale};
}
InputSpec away(Shape shape) { return {.fill = Fill::kAwayFromZero, .type = {DType::kF32, shape}}; }
InputSpec positive(Shape shape) { return {.fill = Fill::kPositive, .type = {DType::kF32, shape}}; }
InputSpec integers(Shape shape, int32_t low, int32_t high) {
  return {.fill = Fill::kIntegers, .type = {DType::kI32, shape}, .low = low, .high = high};
}
InputSpec given(std::vector<int32_t> values, Shape shape) {
  return {.fill = Fill::kGiven, .type = {DType::kI32, shape}, .integers = std::move(values)};
}
InputSpec given(std::vector<int32_t> values) {
  const Shape shape{static_cast<int64_t>(values.size())};
  return given(std::move(values), shape);
}
/// Different values, a twentieth apart at least, in no order: the largest of a window is not in
/// doubt within a finite difference, nor whether it is above 0.
InputSpec apart(Shape shape) {
  std::vector<float> values;
  const int64_t count = shape.elements();
  for (int64_t i = 0; i < count; ++i)
    values.push_back(0.05F * static_cast<float>(i * 101 % count - count / 2) + 0.025F);
  return {
      .fill = InputSpec::Fill::kGiven, .type = {DType::kF32, shape}, .floats = std::move(values)};
}
InputSpec given_f32(std::vector<float> values) {
  const Shape shape{static_cast<int64_t>(values.size())};
  return {.fill = Fill::kGiven, .type = {DType::kF32, shape}, .floats = std::move(values)};
}
/// seed low, seed high, step, first sample.
InputSpec random_input() {
  InputSpec spec = given({7, 11, 3, 5});
  spec.type.dtype = DType::kU32;
  return spec;
}

InputSpec quantized(Shape shape, DType dtype) {
  return {.fill = Fill::kNormal, .type = {dtype, shape}, .scale = 0.5F};
}

/// The case once for every subset of its optional inputs.
void with_optionals(std::vector<OpCase>& cases, const OpCase& full, std::vector<size_t> optional) {
  for (uint32_t mask = 0; mask < 1U << optional.size(); ++mask) {
    OpCase one = full;
    for (size_t k = 0; k < optional.size(); ++k) {
      const bool present = (mask >> k & 1U) != 0;
      if (!present) one.inputs[optional[k]] = InputSpec{};
      one.label +=
          fmt::format(" {}{}", present ? "+" : "-", op_entry(full.op).input_names[optional[k]]);
    }
    cases.push_back(std::move(one));
  }
}

void add_embedding(std::vector<OpCase>& cases) {
  with_optionals(
      cases,
      {OpCode::kEmbedding,
       "ids repeat, one is -1",
       EmbeddingAttrs{1.5F},
       {given({3, 0, 3, 6, -1, 3, 2, 2}, {2, 4}), normal({7, 5}), normal({6, 5}), given({2, 0})}},
      {2, 3});
  cases.push_back({OpCode::kEmbedding,
                   "bag of three",
                   EmbeddingAttrs{1},
                   {integers({3, 5, 3}, -1, 11), normal({11, 17})}});
  cases.push_back({OpCode::kEmbedding,
                   "wider than a vector, many rows",
                   EmbeddingAttrs{0.5F},
                   {integers({5, 33}, 0, 50), normal({50, 67}), normal({40, 67})}});
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0}) {
    cases.push_back({OpCode::kEmbedding,
                     fmt::format("of {}", name(dtype)),
                     EmbeddingAttrs{1.5F},
                     {given({3, 0, 3, 6, -1, 3, 2, 2}, {2, 4}), quantized({7, 64}, dtype),
                      normal({6, 64}), given({2, 0})}});
    cases.push_back({OpCode::kEmbedding,
                     fmt::format("bag of three of {}", name(dtype)),
                     EmbeddingAttrs{1},
                     {integers({3, 5, 3}, -1, 11), quantized({11, 96}, dtype)}});
  }
}

void add_linear(std::vector<OpCase>& cases) {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu,
                                      Activation::kGeluTanh, Activation::kSilu}) {
    with_optionals(cases,
                   {OpCode::kLinear,
                    fmt::format("activation {}", static_cast<int>(activation)),
                    LinearAttrs{activation},
                    // Exactly representable products: no pre-activation within h of relu's kink.
                    {normal({2, 3, 7}), normal({5, 7}), normal({5}), normal({2, 3, 5})}},
                   {2, 3});
  }
  cases.push_back({OpCode::kLinear,
                   "one row",
                   LinearAttrs{},
                   {normal({1, 33}), normal({65, 33}, 0.2F), normal({65})}});
  cases.push_back({OpCode::kLinear,
                   "rows past a tile",
                   LinearAttrs{Activation::kSilu},
                   {normal({3, 41, 50}, 0.3F), normal({70, 50}, 0.3F), normal({70}), {}}});
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0}) {
    for (const int64_t rows : {1, 3, 8, 9, 40}) {
      cases.push_back(
          {OpCode::kLinear,
           fmt::format("{} rows, of {}", rows, name(dtype)),
           LinearAttrs{Activation::kGelu},
           {normal({rows, 96}), quantized({67, 96}, dtype), normal({67}), normal({rows, 67})}});
    }
    cases.push_back({OpCode::kLinear,
                     fmt::format("many scales, of {}", name(dtype)),
                     LinearAttrs{},
                     {normal({2, 4160}, 0.1F), quantized({6, 4160}, dtype)}});
    cases.push_back({OpCode::kLinear,
                     fmt::format("dX in parts, of {}", name(dtype)),
                     LinearAttrs{},
                     {normal({1, 4096}, 0.1F), quantized({300, 4096}, dtype), {}, {}}});
  }
}

void add_norm(std::vector<OpCase>& cases) {
  for (const bool rms : {false, true}) {
    with_optionals(cases,
                   {OpCode::kNorm,
                    rms ? "rms" : "layer",
                    NormAttrs{rms, 1e-5F},
                    {normal({3, 5, 7}), normal({3, 5, 7}), positive({7}), normal({7})}},
                   {1, 2, 3});
    cases.push_back({OpCode::kNorm,
                     rms ? "rms, wide" : "layer, wide",
                     NormAttrs{rms, 1e-6F},
                     {normal({37, 131}), {}, positive({131}), normal({131})}});
  }
}

void add_heads(std::vector<OpCase>& cases) {
  // qkv of 4 query heads over 2 key-value heads of width 6.
  const HeadsAttrs heads{4, 2, 6};
  with_optionals(
      cases, {OpCode::kRope, "grouped", heads, {normal({2, 3, 48}), normal({9, 6}), given({4, 1})}},
      {2});
  cases.push_back(
      {OpCode::kCacheWrite,
       "grouped",
       heads,
       {normal({2, 3, 48}), normal({2, 2, 7, 6}), normal({2, 2, 7, 6}), given({4, 0})}});

  AttentionAttrs attrs;
  attrs.heads = 4;
  attrs.kv_heads = 2;
  attrs.head_dim = 6;
  attrs.scale = 1.0F / std::sqrt(6.0F);
  const InputSpec slopes = given_f32({0.5F, 0.25F, 0.125F, 0.0625F});
  for (const bool causal : {false, true}) {
    attrs.causal = causal;
    with_optionals(cases,
                   {OpCode::kAttention,
                    causal ? "causal" : "full",
                    attrs,
                    {normal({2, 5, 48}),
                     {},
                     {},
                     given({5, 3}),
                     given({0, 0, 1, 1, 1, 0, 0, 0, 1, 1}, {2, 5}),
                     slopes,
                     {}}},
                   {3, 4, 5});
    AttentionAttrs dropped = attrs;
    dropped.dropout = 0.3F;
    dropped.layer = 2;
    cases.push_back({OpCode::kAttention,
                     causal ? "causal, dropout" : "full, dropout",
                     dropped,
                     {normal({2, 5, 48}), {}, {}, {}, {}, {}, random_input()}});
    with_optionals(cases,
                   {OpCode::kAttention,
                    causal ? "cached, causal" : "cached, full",
                    attrs,
                    {normal({2, 2, 48}),
                     normal({2, 2, 9, 6}),
                     normal({2, 2, 9, 6}),
                     given({7, 2}),
                     {},
                     slopes,
                     {}}},
                   {5});
  }
  attrs.window = 2;
  cases.push_back({OpCode::kAttention, "window of two", attrs, {normal({2, 7, 48})}});
  AttentionAttrs tiled;
  tiled.heads = tiled.kv_heads = 2;
  tiled.head_dim = 16;
  tiled.scale = 0.25F;
  cases.push_back({OpCode::kAttention, "more rows than a tile", tiled, {normal({1, 150, 96})}});
  // What tensor cores take over bfloat16, and how a GPU divides decoding.
  AttentionAttrs wide;
  wide.heads = 2;
  wide.kv_heads = 1;
  wide.head_dim = 64;
  wide.scale = 0.125F;
  wide.dropout = 0.2F;
  cases.push_back({OpCode::kAttention,
                   "heads of 64, grouped, dropout",
                   wide,
                   {normal({1, 70, 256}), {}, {}, {}, {}, {}, random_input()}});
  AttentionAttrs decoding;
  decoding.heads = 4;
  decoding.kv_heads = 2;
  decoding.head_dim = 32;
  decoding.scale = 0.2F;
  cases.push_back(
      {OpCode::kAttention,
       "one query over a long cache",
       decoding,
       {normal({1, 1, 256}), normal({1, 2, 200, 32}), normal({1, 2, 200, 32}), given({190})}});
}

void add_elementwise(std::vector<OpCase>& cases) {
  for (const Activation activation :
       {Activation::kRelu, Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
    const std::string label = fmt::format("activation {}", static_cast<int>(activation));
    cases.push_back({OpCode::kActivation, label, ActivationAttrs{activation}, {away({3, 43})}});
    cases.push_back({OpCode::kGatedUnit, label, ActivationAttrs{activation}, {away({5, 22})}});
  }
  cases.push_back({OpCode::kAdd, "same", ScaleAttrs{-0.5F}, {normal({3, 7}), normal({3, 7})}});
  cases.push_back({OpCode::kAdd, "row", ScaleAttrs{2}, {normal({3, 5, 7}), normal({7})}});
  cases.push_back({OpCode::kAdd, "plain row", ScaleAttrs{1}, {normal({5, 9}), normal({9})}});
  cases.push_back({OpCode::kMultiply, "same", {}, {normal({3, 7}), normal({3, 7})}});
  cases.push_back({OpCode::kMultiply, "matrix", {}, {normal({3, 5, 7}), normal({5, 7})}});
  cases.push_back({OpCode::kScale, "", ScaleAttrs{-1.25F}, {normal({3, 7})}});
  for (const bool per_sample : {false, true}) {
    with_optionals(cases,
                   {OpCode::kDropout,
                    per_sample ? "per sample" : "per element",
                    DropoutAttrs{0.4F, per_sample, 2, 3},
                    {normal({6, 3, 7}), random_input(), normal({6, 3, 7})}},
                   {2});
  }
}

void add_loss(std::vector<OpCase>& cases) {
  for (const float smoothing : {0.0F, 0.1F}) {
    with_optionals(cases,
                   {OpCode::kCrossEntropy,
                    fmt::format("smoothing {}", smoothing),
                    CrossEntropyAttrs{smoothing},
                    {normal({2, 3, 7}), given({0, 6, -1, 3, 3, -1}, {2, 3}), given_f32({0.25F}),
                     positive({2, 3})}},
                   {3});
    cases.push_back({OpCode::kCrossEntropy,
                     fmt::format("wide, smoothing {}", smoothing),
                     CrossEntropyAttrs{smoothing},
                     {normal({9, 301}), integers({9}, -1, 301), given_f32({0.125F})}});
  }
  with_optionals(cases,
                 {OpCode::kSquaredError,
                  "",
                  {},
                  {normal({3, 5}), normal({3, 5}), given_f32({0.25F}), positive({3, 5})}},
                 {3});
  cases.push_back({OpCode::kSoftmax, "", {}, {normal({5, 19})}});
}

void add_movement(std::vector<OpCase>& cases) {
  for (int64_t axis = 0; axis < 3; ++axis) {
    const std::string label = fmt::format("axis {}", axis);
    cases.push_back({OpCode::kSlice, label, AxisAttrs{axis, 1, 3}, {normal({3, 4, 5})}});
    Shape b{3, 4, 5};
    Shape other;
    for (size_t i = 0; i < 3; ++i)
      other.push_back(b[i] + (static_cast<int64_t>(i) == axis ? 2 : 0));
    cases.push_back({OpCode::kConcat, label, AxisAttrs{axis, 0, 0}, {normal(b), normal(other)}});
  }
  cases.push_back({OpCode::kReshape, "", ReshapeAttrs{{6, 2, 5}}, {normal({3, 4, 5})}});
  cases.push_back({OpCode::kMemberScale, "", {}, {normal({5, 19}), normal({3, 19})}});
  cases.push_back({OpCode::kMemberScale, "many rows", {}, {normal({67, 131}), normal({4, 131})}});
  with_optionals(
      cases,
      {OpCode::kGroupedLinear, "", {}, {normal({9, 3, 13}), normal({3, 7, 13}), normal({3, 7})}},
      {2});
  cases.push_back({OpCode::kGroupedLinear,
                   "one output",
                   {},
                   {normal({65, 4, 32}), normal({4, 1, 32}), normal({4, 1})}});
  cases.push_back({OpCode::kGatherRows, "", {}, {normal({3, 4, 5}), given({3, 0, 2})}});
  for (const bool mean : {false, true}) {
    with_optionals(cases,
                   {OpCode::kReduce,
                    mean ? "mean" : "sum",
                    ReduceAttrs{mean},
                    {normal({3, 4, 261}), given({4, 0, 2})}},
                   {1});
  }
  for (const WindowAttrs& window :
       {WindowAttrs{3, 1, 1}, WindowAttrs{3, 2, 1}, WindowAttrs{2, 2, 0}}) {
    const std::string label =
        "kernel " + std::to_string(window.kernel) + ", stride " + std::to_string(window.stride);
    cases.push_back({OpCode::kUnfold, label, window, {normal({3, 7, 6, 5})}});
    for (const bool relu : {false, true}) {
      WindowAttrs pooled = window;
      pooled.relu = relu;
      cases.push_back(
          {OpCode::kMaxPool, label + (relu ? ", relu" : ""), pooled, {apart({3, 7, 6, 5})}});
    }
  }
  cases.push_back(
      {OpCode::kMaxPool, "whole vectors", WindowAttrs{3, 2, 1, true}, {apart({1, 6, 6, 32})}});
  for (const WindowAttrs& window :
       {WindowAttrs{3, 1, 1}, WindowAttrs{2, 1, 0}, WindowAttrs{5, 1, 3}}) {
    cases.push_back({OpCode::kConvolve,
                     "kernel " + std::to_string(window.kernel),
                     window,
                     {normal({3, 7, 6, 5}), normal({13, window.kernel * window.kernel * 5})}});
  }
  cases.push_back({OpCode::kConvolve,
                   "one channel",
                   WindowAttrs{3, 1, 1},
                   {normal({2, 9, 8, 1}), normal({8, 9})}});
  cases.push_back({OpCode::kConvolve,
                   "many strips",
                   WindowAttrs{3, 1, 1},
                   {normal({5, 14, 14, 32}), normal({40, 288}, 0.1F)}});
  cases.push_back({OpCode::kConvolve,
                   "more windows than are laid out at a time",
                   WindowAttrs{3, 1, 1},
                   {normal({2, 16, 20, 1}), normal({3, 9})}});
  cases.push_back(
      {OpCode::kUnfold, "many pictures", WindowAttrs{3, 1, 1}, {normal({9, 14, 14, 4})}});
  with_optionals(
      cases, {OpCode::kPool, "", {}, {normal({3, 4, 37}), normal({3, 4}), given({4, 0, 2})}}, {2});
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16, DType::kF16})
    cases.push_back({OpCode::kCast, std::string(name(dtype)), CastAttrs{dtype}, {normal({3, 7})}});
}

void add_optimizer(std::vector<OpCase>& cases) {
  // learning rate, beta1, beta2, epsilon, 1 - beta1^t, 1 - beta2^t, clip, ema decay
  const InputSpec hyper = given_f32({0.01F, 0.9F, 0.95F, 1e-8F, 0.271F, 0.142625F, 1.0F, 0.99F});
  const OptimizerAttrs attrs{.learning_rate_scale = 0.5F, .weight_decay = 0.1F};
  cases.push_back({OpCode::kGradientNorm, "", {}, {normal({1003})}});
  with_optionals(
      cases,
      {OpCode::kAdamW,
       "clipped",
       attrs,
       {normal({131}), normal({131}), normal({131}), positive({131}), hyper, given_f32({2.5F})}},
      {5});
  for (const bool nesterov : {false, true}) {
    OptimizerAttrs muon = attrs;
    muon.nesterov = nesterov;
    // The Newton-Schulz steps are not a contraction: float32 rounding grows.
    with_optionals(cases,
                   {OpCode::kMuon,
                    nesterov ? "nesterov" : "plain",
                    muon,
                    {normal({9, 21}), normal({9, 21}), normal({9, 21}), hyper, given_f32({2.5F})},
                    2e-4F},
                   {4});
  }
  cases.push_back({OpCode::kMuon,
                   "tall",
                   attrs,
                   {normal({40, 12}), normal({40, 12}), normal({40, 12}), hyper},
                   2e-4F});
  cases.push_back({OpCode::kEma, "", attrs, {normal({131}), normal({131}), hyper}});
}

}  // namespace

std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases;
  add_embedding(cases);
  add_linear(cases);
  add_norm(cases);
  add_heads(cases);
  add_elementwise(cases);
  add_loss(cases);
  add_movement(cases);
  add_optimizer(cases);
  return cases;
}

}  // namespace quern::graph::testing
