#include "quern/kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/kernels/reference/attention.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu {
namespace {

using Floats = std::vector<float>;

Floats random_floats(int64_t count, uint64_t seed) {
  Random random(seed, Stream::kTest);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

struct Case {
  int64_t batch = 2, queries = 5, heads = 2, kv_heads = 2, head_dim = 16;
  int64_t cache = 0;  // capacity of a cache (B,K,S,D); 0: packed qkv
  bool causal = true;
  int64_t window = 0;
  std::vector<int32_t> lengths = {}, segments = {};
  bool alibi = false;
  float dropout = 0;
  std::string text() const {
    return "B" + std::to_string(batch) + " T" + std::to_string(queries) + " H" +
           std::to_string(heads) + "/" + std::to_string(kv_heads) + " D" +
           std::to_string(head_dim) + " S" + std::to_string(cache) + (causal ? " causal" : "") +
           " window" + std::to_string(window) + (lengths.empty() ? "" : " lengths") +
           (segments.empty() ? "" : " segments") + (alibi ? " alibi" : "") + " dropout" +
           std::to_string(dropout);
  }
};

// The operands of a case, and an Attention that points at them.
struct Operands {
  explicit Operands(const Case& s) : shape(s) {
    Attention& a = attention;
    a.batch = s.batch, a.queries = s.queries, a.heads = s.heads, a.kv_heads = s.kv_heads;
    a.head_dim = s.head_dim;
    a.capacity = s.cache > 0 ? s.cache : s.queries;
    a.q_head = s.head_dim;
    a.q_row = (s.heads + 2 * s.kv_heads) * s.head_dim;
    a.q_batch = s.queries * a.q_row;
    qkv = random_floats(s.batch * a.q_batch, 1);
    a.q = qkv.data();
    if (s.cache > 0) {
      a.kv_row = s.head_dim;
      a.kv_head = s.cache * s.head_dim;
      a.kv_batch = s.kv_heads * a.kv_head;
      keys = random_floats(s.batch * a.kv_batch, 2);
      values = random_floats(s.batch * a.kv_batch, 3);
      a.k = keys.data(), a.v = values.data();
    } else {
      a.kv_row = a.q_row, a.kv_head = s.head_dim, a.kv_batch = a.q_batch;
      a.k = a.q + s.heads * s.head_dim;
      a.v = a.k + s.kv_heads * s.head_dim;
    }
    a.causal = s.causal;
    a.window = s.window;
    a.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
    if (!shape.lengths.empty()) a.lengths = shape.lengths.data();
    if (!shape.segments.empty()) a.segments = shape.segments.data();
    for (int64_t h = 0; h < s.heads; ++h) slopes.push_back(0.5F / static_cast<float>(h + 1));
    if (s.alibi) a.alibi_slopes = slopes.data();
    a.dropout = s.dropout;
    a.random = random;
    a.layer = 3;
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  Case shape;
  Attention attention;
  Floats qkv, keys, values, slopes;
  uint32_t random[4] = {11, 22, 33, 44};
};

struct Result {
  Floats out, lse, q_grad, k_grad, v_grad;
};

Result make_result(const Operands& s) {
  const Attention& a = s.attention;
  const auto floats = [](int64_t count) { return Floats(static_cast<size_t>(count), 7.0F); };
  // q_grad has the strides of qkv; so have k_grad and v_grad without a cache.
  return {floats(a.batch * a.queries * a.heads * a.head_dim), floats(a.batch * a.heads * a.queries),
          floats(a.batch * a.q_batch), floats(a.batch * a.kv_batch), floats(a.batch * a.kv_batch)};
}

Result run(const Operands& s, int threads, bool backward) {
  Result r = make_result(s);
  ThreadPool pool(threads);
  const Buffer forward_scratch(attention_forward_scratch(s.attention));
  attention_forward(pool, s.attention, r.out.data(), r.lse.data(), forward_scratch.data());
  if (backward) {
    const Floats grad = random_floats(static_cast<int64_t>(r.out.size()), 9);
    const Buffer scratch(attention_backward_scratch(s.attention));
    attention_backward(pool, s.attention, r.out.data(), r.lse.data(), grad.data(), r.q_grad.data(),
                       r.k_grad.data(), r.v_grad.data(), scratch.data());
  }
  return r;
}

Result run_reference(const Operands& s, bool backward) {
  Result r = make_result(s);
  reference::attention_forward(s.attention, r.out.data(), r.lse.data());
  if (backward) {
    const Floats grad = random_floats(static_cast<int64_t>(r.out.size()), 9);
    reference::attention_backward(s.attention, grad.data(), r.q_grad.data(), r.k_grad.data(),
                                  r.v_grad.data());
  }
  return r;
}

void expect_near(const Floats& got, const Floats& want, double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;  // infinities
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << what << " at " << i;
  }
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check(const Case& shape) {
  const Operands s(shape);
  const bool backward = shape.cache == 0;
  const Result want = run_reference(s, backward);
  const Result one = run(s, 1, backward);
  expect_near(one.out, want.out, 3e-6, shape.text() + " out");
  expect_near(one.lse, want.lse, 3e-6, shape.text() + " lse");
  expect_near(one.q_grad, want.q_grad, 2e-5, shape.text() + " q_grad");
  expect_near(one.k_grad, want.k_grad, 2e-5, shape.text() + " k_grad");
  expect_near(one.v_grad, want.v_grad, 2e-5, shape.text() + " v_grad");
  for (const int threads : {2, 3}) {
    const Result other = run(s, threads, backward);
    ASSERT_TRUE(same_bits(one.out, other.out) && same_bits(one.lse, other.lse) &&
                same_bits(one.q_grad, other.q_grad) && same_bits(one.k_grad, other.k_grad) &&
                same_bits(one.v_grad, other.v_grad))
        << shape.text() << " differs at " << threads << " threads";
  }
}

class AttentionTest : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { force_isa(GetParam()); }
  void TearDown() override { force_isa(""); }
};
INSTANTIATE_TEST_SUITE_P(Isa, AttentionTest, testing::ValuesIn(available_isas()),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(AttentionTest, EveryLengthAndHeadSize) {
  for (const int64_t queries : {1, 3, 5, 16, 17, 31, 32, 33, 64, 100}) {
    for (const bool causal : {true, false}) {
      check({.queries = queries, .causal = causal});
    }
  }
  for (const int64_t head_dim : {1, 5, 8, 24, 32, 40, 64, 128}) {
    check({.batch = 1, .queries = 37, .head_dim = head_dim});
    check({.batch = 1, .queries = 2, .head_dim = head_dim});
  }
}

TEST_P(AttentionTest, SeveralBlocksOfKeys) {
  check({.batch = 1, .queries = 600, .heads = 1, .kv_heads = 1});
  check({.batch = 1, .queries = 300, .heads = 1, .kv_heads = 1, .causal = false, .alibi = true});
  check({.batch = 1, .queries = 3, .cache = 700, .lengths = {650}});
}

TEST_P(AttentionTest, GroupedHeads) {
  check({.queries = 40, .heads = 6, .kv_heads = 2});
  check({.queries = 40, .heads = 4, .kv_heads = 1, .head_dim = 24});
  check({.queries = 1, .heads = 4, .kv_heads = 2, .cache = 50, .lengths = {50, 7}});
}

TEST_P(AttentionTest, EveryMask) {
  const std::vector<int32_t> segments = [] {
    std::vector<int32_t> s;
    for (int i = 0; i < 2 * 45; ++i) s.push_back(i / 10);
    return s;
  }();
  for (const bool causal : {true, false}) {
    check({.queries = 45, .causal = causal, .window = 7});
    check({.queries = 45, .causal = causal, .window = 40, .alibi = true});
    check({.queries = 45, .causal = causal, .segments = segments});
    check({.queries = 45, .causal = causal, .lengths = {45, 20}});
    check({.queries = 45,
           .causal = causal,
           .window = 9,
           .lengths = {45, 44},
           .segments = segments,
           .alibi = true});
  }
  std::vector<int32_t> few = {0, 0, 1, 1, 1, 2};
  check({.queries = 3, .segments = few});
}

TEST_P(AttentionTest, Dropout) {
  check({.queries = 50, .dropout = 0.3F});
  check({.queries = 3, .heads = 4, .dropout = 0.5F});
  check({.batch = 1, .queries = 300, .heads = 1, .kv_heads = 1, .dropout = 0.1F});
}

TEST_P(AttentionTest, DropoutKeepsItsShare) {
  // Equal scores and values of 1: an output is the kept share of the keys / (1 - rate).
  Case shape{.batch = 4, .queries = 64, .heads = 4, .kv_heads = 4, .causal = false};
  shape.dropout = 0.25F;
  Operands s(shape);
  std::fill(s.qkv.begin(), s.qkv.end(), 1.0F);
  const Result r = run(s, 1, false);
  double mean = 0;
  for (const float value : r.out) mean += static_cast<double>(value);
  mean /= static_cast<double>(r.out.size());
  // 65,536 draws: the mean has a deviation of √(.25/.75/65536) = .0023.
  EXPECT_NEAR(mean, 1, 0.01);
}

TEST_P(AttentionTest, DecodingSeesWhatTheWholePassSaw) {
  // The last query of a full causal pass, and one query over a cache with room to spare.
  const Operands whole({.batch = 1, .queries = 40});
  const Result want = run(whole, 1, false);
  Operands cache({.batch = 1, .queries = 1, .cache = 64, .lengths = {40}});
  const Attention& a = whole.attention;
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t j = 0; j < 40; ++j) {
      for (int64_t d = 0; d < 16; ++d) {
        const auto to = static_cast<size_t>((h * 64 + j) * 16 + d);
        cache.keys[to] = a.k[j * a.kv_row + h * a.kv_head + d];
        cache.values[to] = a.v[j * a.kv_row + h * a.kv_head + d];
      }
    }
    for (int64_t d = 0; d < 16; ++d) {
      cache.qkv[static_cast<size_t>(h * 16 + d)] = a.q[39 * a.q_row + h * a.q_head + d];
    }
  }
  const Result got = run(cache, 2, false);
  for (size_t i = 0; i < got.out.size(); ++i) {
    EXPECT_NEAR(got.out[i], want.out[39 * 32 + i], 3e-6);
  }
}

TEST_P(AttentionTest, ARowThatSeesNothingIsZero) {
  for (const int64_t queries : {2, 40}) {
    Case shape{.batch = 2, .queries = queries, .causal = false, .lengths = {0, 1}};
    const Operands s(shape);
    const Result r = run(s, 2, true);
    const auto half = static_cast<std::ptrdiff_t>(r.out.size() / 2);
    EXPECT_EQ(Floats(r.out.begin(), r.out.begin() + half), Floats(r.out.size() / 2, 0.0F));
    EXPECT_EQ(r.lse[0], -std::numeric_limits<float>::infinity());
    for (const Floats* grad : {&r.q_grad, &r.k_grad, &r.v_grad}) {
      for (const float value : *grad) EXPECT_TRUE(std::isfinite(value));
    }
    check(shape);
  }
}

TEST_P(AttentionTest, LargeScoresStayFinite) {
  Operands s({.batch = 1, .queries = 40});
  for (float& value : s.qkv) value *= 100;
  const Result want = run_reference(s, false);
  const Result got = run(s, 1, true);
  expect_near(got.out, want.out, 1e-2, "out");
  for (const float value : got.q_grad) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(AttentionTest, ANaNIsNotHidden) {
  for (const int64_t queries : {2, 40}) {
    Operands s({.batch = 1, .queries = queries, .causal = false});
    s.qkv[0] = std::numeric_limits<float>::quiet_NaN();  // of the first query
    EXPECT_TRUE(std::isnan(run(s, 1, false).out[0])) << queries;
  }
}

TEST_P(AttentionTest, WeightsForAnObserver) {
  const Operands s(
      {.batch = 1, .queries = 20, .heads = 4, .kv_heads = 2, .window = 6, .alibi = true});
  const Result r = run(s, 1, false);
  const Attention& a = s.attention;
  Floats weights(400);
  attention_weights(a, r.lse.data(), 0, 3, weights.data());
  for (int64_t t = 0; t < 20; ++t) {
    float sum = 0;
    float out = 0;
    for (int64_t j = 0; j < 20; ++j) {
      const float weight = weights[static_cast<size_t>(t * 20 + j)];
      if (j > t || j <= t - 6) {
        EXPECT_EQ(weight, 0);
      }
      sum += weight;
      out += weight * a.v[j * a.kv_row + a.kv_head];
    }
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_NEAR(out, r.out[static_cast<size_t>((t * 4 + 3) * 16)], 1e-5);
  }
}

TEST(Attention, RefusesAHeadThatIsTooWide) {
  Operands s({.batch = 1, .queries = 1, .head_dim = 16});
  s.attention.head_dim = 513;
  ThreadPool pool(1);
  EXPECT_THROW(attention_forward(pool, s.attention, nullptr, nullptr, nullptr), ShapeError);
}

}  // namespace
}  // namespace quern::kernels::cpu
