#include "quern/kernels/reference/attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "quern/base/random.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/tensor/buffer.h"

// Attention over bfloat16 on every path against plain loops in float64 over the same rounded
// operands.
namespace quern::kernels::cuda {
namespace {

using Floats = std::vector<float>;
using Names = std::vector<std::string>;

constexpr float kTolerance = 1e-2F;  // of the largest value

enum class Path : uint8_t { kTensorCores, kSplit, kPlain };

struct Case {
  const char* name;
  int64_t batch = 1, queries = 5, heads = 2, kv_heads = 2, head_dim = 64;
  int64_t cache = 0;  // capacity of a cache (B,K,S,D); 0: packed qkv
  bool causal = true;
  int64_t window = 0;
  std::vector<int32_t> lengths = {}, segments = {};
  bool alibi = false;
  float dropout = 0;
  Path path = Path::kTensorCores;
  Path backward = path == Path::kPlain ? Path::kPlain : Path::kTensorCores;
  int64_t shift = 0;  // of all operands from where they would be aligned
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

/// Runs of `length` equal segments.
std::vector<int32_t> runs(int64_t count, int64_t length) {
  std::vector<int32_t> segments;
  for (int64_t i = 0; i < count; ++i) segments.push_back(static_cast<int32_t>(i / length));
  return segments;
}

const Case kCases[] = {
    {.name = "one_query", .queries = 1},
    {.name = "narrow_heads", .queries = 17, .head_dim = 16},
    {.name = "heads_of_48", .queries = 65, .head_dim = 48},
    {.name = "heads_of_80", .queries = 33, .head_dim = 80},
    {.name = "wide_heads", .queries = 65, .head_dim = 128},
    {.name = "causal", .batch = 2, .queries = 65},
    {.name = "two_blocks", .queries = 130, .heads = 1, .kv_heads = 1},
    {.name = "two_blocks_of_wide_heads",
     .queries = 130,
     .heads = 1,
     .kv_heads = 1,
     .head_dim = 128,
     .causal = false},
    {.name = "not_causal", .queries = 130, .heads = 1, .kv_heads = 1, .causal = false},
    {.name = "window", .queries = 130, .heads = 1, .kv_heads = 1, .window = 34},
    {.name = "window_of_all_sides", .queries = 130, .head_dim = 32, .causal = false, .window = 70},
    {.name = "lengths", .batch = 4, .queries = 70, .head_dim = 32, .lengths = {70, 40, 1, 0}},
    {.name = "lengths_not_causal",
     .batch = 3,
     .queries = 66,
     .head_dim = 32,
     .causal = false,
     .lengths = {66, 63, 0}},
    {.name = "segments", .queries = 70, .segments = runs(70, 23)},
    {.name = "segments_not_causal", .queries = 70, .causal = false, .segments = runs(70, 64)},
    {.name = "alibi", .queries = 65, .alibi = true},
    {.name = "alibi_not_causal", .queries = 65, .head_dim = 128, .causal = false, .alibi = true},
    {.name = "dropout", .batch = 2, .queries = 65, .dropout = 0.2F},
    {.name = "dropout_of_wide_heads", .queries = 65, .head_dim = 128, .dropout = 0.4F},
    {.name = "grouped_heads", .queries = 66, .heads = 6, .kv_heads = 2, .head_dim = 32},
    {.name = "all_at_once",
     .batch = 2,
     .queries = 100,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .window = 50,
     .lengths = {100, 77},
     .segments = runs(200, 60),
     .alibi = true,
     .dropout = 0.1F},
    {.name = "cache",
     .batch = 2,
     .queries = 20,
     .heads = 4,
     .kv_heads = 2,
     .cache = 150,
     .lengths = {150, 31}},
    {.name = "decode_step",
     .batch = 3,
     .queries = 1,
     .cache = 700,
     .lengths = {700, 3, 65},
     .path = Path::kSplit},
    {.name = "decode_step_of_grouped_heads",
     .queries = 1,
     .heads = 8,
     .kv_heads = 1,
     .head_dim = 128,
     .cache = 300,
     .lengths = {290},
     .path = Path::kSplit},
    {.name = "few_queries_two_tiles_of_rows",
     .batch = 2,
     .queries = 11,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .cache = 200,
     .lengths = {200, 5},
     .path = Path::kSplit},
    {.name = "few_queries_with_everything",
     .batch = 2,
     .queries = 16,
     .heads = 2,
     .kv_heads = 1,
     .head_dim = 80,
     .cache = 260,
     .window = 100,
     .lengths = {260, 140},
     .alibi = true,
     .dropout = 0.3F,
     .path = Path::kSplit},
    {.name = "few_queries_not_causal",
     .batch = 2,
     .queries = 4,
     .cache = 130,
     .causal = false,
     .lengths = {0, 129},
     .path = Path::kSplit},
    {.name = "heads_not_of_sixteens", .queries = 20, .head_dim = 24, .path = Path::kPlain},
    {.name = "heads_too_wide", .queries = 20, .head_dim = 144, .path = Path::kPlain},
    {.name = "rows_not_aligned", .queries = 20, .path = Path::kPlain, .shift = 1},
    {.name = "few_queries_not_aligned",
     .queries = 2,
     .cache = 150,
     .lengths = {120},
     .path = Path::kPlain,
     .shift = 4},
};

/// A tensor of bfloat16, and the same values in float32.
struct Rounded {
  explicit Rounded(int64_t count, uint64_t seed, int64_t shift) : shift(shift) {
    Random random(seed, Stream::kTest);
    stored.resize(static_cast<size_t>(count + shift));
    for (BFloat16& value : stored) value = static_cast<float>(random.normal());
    exact.assign(stored.begin() + shift, stored.end());
  }
  const BFloat16* data() const { return stored.data() + shift; }
  int64_t shift;
  std::vector<BFloat16> stored;
  Floats exact;
};

template <typename T>
cpu::AttentionOf<T> shape_of(const Case& c) {
  cpu::AttentionOf<T> a;
  a.batch = c.batch, a.queries = c.queries, a.heads = c.heads, a.kv_heads = c.kv_heads;
  a.head_dim = c.head_dim;
  a.q_head = c.head_dim;
  a.q_row = (c.heads + 2 * c.kv_heads) * c.head_dim;
  a.q_batch = c.queries * a.q_row;
  a.capacity = c.queries;
  a.kv_row = a.q_row, a.kv_head = c.head_dim, a.kv_batch = a.q_batch;
  if (c.cache > 0) {
    a.capacity = c.cache;
    a.kv_row = c.head_dim;
    a.kv_head = c.cache * c.head_dim;
    a.kv_batch = c.kv_heads * a.kv_head;
  }
  a.causal = c.causal;
  a.window = c.window;
  a.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  a.dropout = c.dropout;
  a.layer = 3;
  return a;
}

/// The operands of a case. Of a cache, what lies past the lengths is NaN: it may not be read into a
/// sum.
struct Operands {
  explicit Operands(const Case& c)
      : shape(c),
        attention(shape_of<BFloat16>(c)),
        expected(shape_of<float>(c)),
        qkv(c.batch * attention.q_batch, 1, c.shift),
        keys(c.cache > 0 ? c.batch * attention.kv_batch : 0, 2, c.shift),
        values(c.cache > 0 ? c.batch * attention.kv_batch : 0, 3, c.shift),
        out_grad(c.batch * c.queries * c.heads * c.head_dim, 4, c.shift) {
    if (c.cache > 0) forget_the_unwritten();
    for (int64_t h = 0; h < c.heads; ++h) slopes.push_back(0.5F / static_cast<float>(h + 1));
    place(attention, qkv.data(), keys.data(), values.data());
    place(expected, qkv.exact.data(), keys.exact.data(), values.exact.data());
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  template <typename T>
  void place(cpu::AttentionOf<T>& a, const T* q, const T* k, const T* v) const {
    const bool cached = shape.cache > 0;
    a.q = q;
    a.k = cached ? k : q + shape.heads * shape.head_dim;
    a.v = cached ? v : a.k + shape.kv_heads * shape.head_dim;
    if (!shape.lengths.empty()) a.lengths = shape.lengths.data();
    if (!shape.segments.empty()) a.segments = shape.segments.data();
    if (shape.alibi) a.alibi_slopes = slopes.data();
    a.random = random;
  }
  void forget_the_unwritten() {
    for (int64_t i = 0; i < shape.batch * attention.kv_batch; ++i) {
      const int64_t slot = i / attention.kv_row % shape.cache;
      if (slot < shape.lengths[static_cast<size_t>(i / attention.kv_batch)]) continue;
      for (Rounded* tensor : {&keys, &values})
        tensor->stored[static_cast<size_t>(i + shape.shift)] =
            std::numeric_limits<float>::quiet_NaN();
    }
  }

  Case shape;
  cpu::AttentionOf<BFloat16> attention;
  cpu::Attention expected;
  Rounded qkv, keys, values, out_grad;
  Floats slopes;
  uint32_t random[4] = {11, 22, 33, 44};
};

/// T is float or BFloat16. Gradients have the strides of their operands; between, nothing is
/// written.
template <typename T>
struct Results {
  explicit Results(const Case& c, const cpu::AttentionOf<T>& a)
      : out(static_cast<size_t>(c.batch * c.queries * c.heads * c.head_dim + c.shift), T(0.0F)),
        q_grad(static_cast<size_t>(c.batch * a.q_batch + c.shift), T(0.0F)),
        k_grad(static_cast<size_t>(c.batch * a.kv_batch + c.shift), T(0.0F)),
        v_grad(k_grad),
        lse(static_cast<size_t>(c.batch * c.heads * c.queries)) {}
  std::vector<T> out, q_grad, k_grad, v_grad;
  Floats lse;
};

Results<BFloat16> run(const Operands& s, Names& kernels) {
  Results<BFloat16> r(s.shape, s.attention);
  EmulatedDriver driver;
  const Context context{.driver = driver, .blas = nullptr};
  const int64_t shift = s.shape.shift;
  const Buffer forward_scratch(attention_forward_scratch(s.attention));
  attention_forward(context, s.attention, r.out.data() + shift, r.lse.data(),
                    forward_scratch.data());
  const Buffer scratch(attention_backward_scratch(s.attention));
  attention_backward(context, s.attention, r.out.data() + shift, r.lse.data(), s.out_grad.data(),
                     r.q_grad.data() + shift, r.k_grad.data() + shift, r.v_grad.data() + shift,
                     scratch.data());
  kernels = driver.kernels_run();
  return r;
}

Results<float> run_reference(const Operands& s) {
  Results<float> r(s.shape, s.expected);
  const int64_t shift = s.shape.shift;
  reference::attention_forward(s.expected, r.out.data() + shift, r.lse.data());
  reference::attention_backward(s.expected, s.out_grad.exact.data(), r.q_grad.data() + shift,
                                r.k_grad.data() + shift, r.v_grad.data() + shift);
  return r;
}

void expect_near(const std::vector<BFloat16>& got, const Floats& expected, const char* what) {
  float largest = 1e-3F;  // where all should be zero, rounding leaves a little
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], kTolerance * largest) << what << " " << i;
}
void expect_near(const Floats& got, const Floats& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isinf(expected[i])) {
      ASSERT_EQ(got[i], expected[i]) << "lse " << i;
    } else {
      ASSERT_NEAR(got[i], expected[i], 1e-3F) << "lse " << i;
    }
  }
}
std::vector<uint16_t> bits(const std::vector<BFloat16>& values) {
  std::vector<uint16_t> words;
  for (const BFloat16 value : values) words.push_back(value.bits);
  return words;
}

Names expected_kernels(const Case& c) {
  const std::string width = c.head_dim <= 32 ? "_32" : c.head_dim <= 64 ? "_64" : "_128";
  Names names;
  if (c.path == Path::kTensorCores) names = {"quern_attention_mma_forward" + width};
  if (c.path == Path::kSplit) names = {"quern_attention_split" + width, "quern_attention_join"};
  if (c.path == Path::kPlain) names = {"quern_attention_forward_bf16"};
  names.emplace_back("quern_attention_delta_bf16");
  for (const char* of : {"q", "kv"}) {
    names.push_back(c.backward == Path::kPlain
                        ? fmt::format("quern_attention_backward_{}_bf16", of)
                        : fmt::format("quern_attention_mma_backward_{}{}", of, width));
  }
  return names;
}

class CudaAttention : public testing::TestWithParam<Case> {};

TEST_P(CudaAttention, OfBFloat16IsThatOfPlainLoops) {
  const Operands operands(GetParam());
  Names kernels;
  const Results<BFloat16> got = run(operands, kernels);
  EXPECT_EQ(kernels, expected_kernels(GetParam()));
  const Results<float> expected = run_reference(operands);
  expect_near(got.out, expected.out, "out");
  expect_near(got.lse, expected.lse);
  expect_near(got.q_grad, expected.q_grad, "q_grad");
  expect_near(got.k_grad, expected.k_grad, "k_grad");
  expect_near(got.v_grad, expected.v_grad, "v_grad");
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaAttention, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

/// The case of that name.
const Case& case_of(const std::string& name) {
  return *std::find_if(std::begin(kCases), std::end(kCases),
                       [&](const Case& c) { return name == c.name; });
}

TEST(CudaAttentionOnce, NeedsNoLogSumExp) {
  for (const char* name : {"grouped_heads", "decode_step"}) {
    SCOPED_TRACE(name);
    const Operands operands(case_of(name));
    Names kernels;
    const Results<BFloat16> with = run(operands, kernels);
    Results<BFloat16> without(operands.shape, operands.attention);
    EmulatedDriver driver;
    const Buffer scratch(attention_forward_scratch(operands.attention));
    attention_forward({.driver = driver, .blas = nullptr}, operands.attention, without.out.data(),
                      nullptr, scratch.data());
    EXPECT_EQ(bits(with.out), bits(without.out));
  }
}

TEST(CudaAttentionTwice, GivesTheSameBits) {
  for (const char* name : {"all_at_once", "few_queries_with_everything"}) {
    SCOPED_TRACE(name);
    const Operands operands(case_of(name));
    Names kernels;
    const Results<BFloat16> first = run(operands, kernels);
    const Results<BFloat16> second = run(operands, kernels);
    EXPECT_EQ(bits(first.out), bits(second.out));
    EXPECT_EQ(first.lse, second.lse);
    EXPECT_EQ(bits(first.q_grad), bits(second.q_grad));
    EXPECT_EQ(bits(first.k_grad), bits(second.k_grad));
    EXPECT_EQ(bits(first.v_grad), bits(second.v_grad));
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
