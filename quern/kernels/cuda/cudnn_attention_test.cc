#include "quern/kernels/cuda/cudnn_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/tensor/buffer.h"

// The host's side of cuDNN's attention over an imitation of libquern_cudnn; and Quern's own kernels
// against it, each the other's check: with QUERN_TEST_GPU=bf16 on the machine's GPU, against cuDNN.
namespace quern::kernels::cuda {
namespace {

using Attention = cpu::AttentionOf<BFloat16>;

/// Attention over packed qkv (B, T, (heads + 2 kv_heads) · D), or over longer keys of their own.
struct Case {
  const char* name;
  int64_t batch, queries, keys, heads, kv_heads, head_dim;
  bool causal = true;
  int64_t window = 0;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

Attention attention_of(const Case& c) {
  Attention a;
  a.batch = c.batch;
  a.queries = c.queries;
  a.capacity = c.keys;
  a.heads = c.heads;
  a.kv_heads = c.kv_heads;
  a.head_dim = a.q_head = a.kv_head = c.head_dim;
  a.q_row = a.kv_row = (c.heads + 2 * c.kv_heads) * c.head_dim;
  a.q_batch = c.queries * a.q_row;
  a.kv_batch = c.keys * a.kv_row;
  a.causal = c.causal;
  a.window = c.window;
  a.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  return a;
}

bool on_gpu() {
  const char* wanted = std::getenv("QUERN_TEST_GPU");
  return wanted != nullptr && std::string_view(wanted) == "bf16";
}

std::unique_ptr<Gpu> make_gpu() {
  if (on_gpu()) {
#if defined(QUERN_CUDNN_BUILT)
    setenv("QUERN_CUDNN_LIBRARY", QUERN_CUDNN_BUILT, 0);  // it is not beside the tests
#endif
    return open_gpu(Precision::kBf16);
  }
  return std::make_unique<Gpu>(
      std::make_unique<EmulatedDriver>(EmulatedDriver::Options{.cudnn = true}), Precision::kBf16);
}

/// Memory that both sides read.
template <typename T>
class Shared {
 public:
  Shared(Gpu& gpu, int64_t count)
      : buffer_(static_cast<size_t>(count) * sizeof(T), &gpu.driver(), Memory::kShared),
        count_(count) {}
  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
  std::vector<float> values() const {
    std::vector<float> all(static_cast<size_t>(count_));
    std::transform(data(), data() + count_, all.begin(), [](T x) { return float{x}; });
    return all;
  }
  /// Numbers of about unit size that differ from place to place.
  void fill(double phase) const {
    for (int64_t i = 0; i < count_; ++i)
      data()[i] = static_cast<float>(1.5 * std::sin(static_cast<double>(i) * 12.9898 + phase));
  }

 private:
  Buffer buffer_;
  int64_t count_;
};

/// One attention's operands and results.
struct Operands {
  Operands(Gpu& gpu, const Case& c)
      : attention(attention_of(c)),
        count(c.batch * std::max(c.queries, c.keys) * attention.q_row),
        width(c.heads * c.head_dim),
        qkv(gpu, count),
        out(gpu, c.batch * c.queries * width),
        out_grad(gpu, c.batch * c.queries * width),
        grad(gpu, count),
        lse(gpu, c.batch * c.heads * c.queries),
        forward_scratch(attention_forward_scratch(attention), &gpu.driver(), Memory::kDevice),
        backward_scratch(attention_backward_scratch(attention), &gpu.driver(), Memory::kDevice) {
    qkv.fill(0);
    out_grad.fill(1);
    attention.q = qkv.data();
    attention.k = attention.q + width;
    attention.v = attention.k + c.kv_heads * c.head_dim;
  }
  void forward(const Context& context) const {
    attention_forward(context, attention, out.data(), lse.data(), forward_scratch.data());
  }
  void backward(const Context& context) const {
    BFloat16* k_grad = grad.data() + width;
    attention_backward(context, attention, out.data(), lse.data(), out_grad.data(), grad.data(),
                       k_grad, k_grad + attention.kv_heads * attention.head_dim,
                       backward_scratch.data());
  }

  Attention attention;
  int64_t count, width;
  Shared<BFloat16> qkv, out, out_grad, grad;
  Shared<float> lse;
  Buffer forward_scratch, backward_scratch;
};

/// Two roundings to bfloat16 apart at most, of values of the largest's size.
void expect_near(const std::vector<float>& got, const std::vector<float>& want, float tolerance,
                 const char* what) {
  float most = 0;
  for (const float x : want) most = std::max(most, std::abs(x));
  ASSERT_GT(most, 0) << what;
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * most) << what << ' ' << i;
}

class CudnnShapes : public ::testing::TestWithParam<Case> {};

TEST_P(CudnnShapes, EachIsTheOthersCheck) {
  const std::unique_ptr<Gpu> gpu = make_gpu();
  if (on_gpu() && gpu->context().cudnn == nullptr) GTEST_SKIP() << "cuDNN is not found";
  const Context& cudnn = gpu->context();
  Context own = cudnn;
  own.cudnn = nullptr;
  const Operands x(*gpu, GetParam());
  const Operands y(*gpu, GetParam());
  x.forward(cudnn);
  y.forward(own);
  gpu->driver().synchronize();
  if (on_gpu() && cudnn.cudnn->size() == 0) GTEST_SKIP() << "cuDNN has no kernel for it";
  EXPECT_EQ(cudnn.cudnn->size(), 1U) << "cuDNN computes it";
  expect_near(x.out.values(), y.out.values(), 1.0F / 128, "out");
  expect_near(x.lse.values(), y.lse.values(), 1e-4F, "log-sum-exp");
  // From the same out, and over what may not be read.
  std::copy_n(y.out.data(), x.attention.batch * x.attention.queries * x.width, x.out.data());
  std::fill_n(x.grad.data(), x.count, BFloat16(0));
  std::fill_n(y.grad.data(), y.count, BFloat16(0));
  x.backward(cudnn);
  y.backward(own);
  gpu->driver().synchronize();
  EXPECT_GE(cudnn.cudnn->size(), 2U) << "and its gradients";
  expect_near(x.grad.values(), y.grad.values(), 1.0F / 64, "gradients");
}

constexpr Case kShapes[] = {
    {.name = "plain",
     .batch = 2,
     .queries = 33,
     .keys = 33,
     .heads = 2,
     .kv_heads = 2,
     .head_dim = 16},
    {.name = "not_causal",
     .batch = 1,
     .queries = 20,
     .keys = 20,
     .heads = 3,
     .kv_heads = 3,
     .head_dim = 32,
     .causal = false},
    {.name = "grouped",
     .batch = 2,
     .queries = 24,
     .keys = 24,
     .heads = 6,
     .kv_heads = 2,
     .head_dim = 8},
    {.name = "window",
     .batch = 1,
     .queries = 40,
     .keys = 40,
     .heads = 2,
     .kv_heads = 1,
     .head_dim = 64,
     .window = 5},
    {.name = "window_not_causal",
     .batch = 1,
     .queries = 40,
     .keys = 40,
     .heads = 2,
     .kv_heads = 2,
     .head_dim = 16,
     .causal = false,
     .window = 7},
    {.name = "in_parts_of_heads",
     .batch = 1,
     .queries = 16,
     .keys = 16,
     .heads = 8,
     .kv_heads = 4,
     .head_dim = 40},
    {.name = "in_parts_of_samples",
     .batch = 3,
     .queries = 16,
     .keys = 16,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 40},
    {.name = "fewer_queries",
     .batch = 2,
     .queries = 5,
     .keys = 21,
     .heads = 2,
     .kv_heads = 2,
     .head_dim = 128},
};
INSTANTIATE_TEST_SUITE_P(Every, CudnnShapes, ::testing::ValuesIn(kShapes),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr Case kSmall{.name = "small",
                      .batch = 2,
                      .queries = 16,
                      .keys = 16,
                      .heads = 2,
                      .kv_heads = 2,
                      .head_dim = 16};

/// A GPU with the imitation, whose runs are counted.
struct Emulated {
  Emulated() {
    auto made = std::make_unique<EmulatedDriver>(EmulatedDriver::Options{.cudnn = true});
    driver = made.get();
    gpu = std::make_unique<Gpu>(std::move(made), Precision::kBf16);
  }
  EmulatedDriver* driver;
  std::unique_ptr<Gpu> gpu;
};

TEST(CudnnAttention, PlansAreMadeOnceAShape) {
  const Emulated e;
  const Context& context = e.gpu->context();
  Operands x(*e.gpu, kSmall);
  for (int run = 0; run < 3; ++run) {
    x.forward(context);
    x.backward(context);
  }
  EXPECT_EQ(context.cudnn->size(), 2U);
  EXPECT_EQ(e.driver->attention_plans(), 2);
  EXPECT_EQ(e.driver->attentions(), 6);
  EXPECT_TRUE(e.driver->kernels_run().empty()) << "and no own kernel runs";
  x.attention.scale *= 2;
  x.forward(context);
  x.attention.window = 4;
  x.forward(context);
  x.attention.causal = false;
  x.forward(context);
  EXPECT_EQ(context.cudnn->size(), 5U) << "another scale, window or mask is another plan";
}

TEST(CudnnAttention, IsHeldByACapturedGraph) {
  const Emulated e;
  const Context& context = e.gpu->context();
  const Operands x(*e.gpu, kSmall);
  x.forward(context);
  const std::vector<float> want = x.out.values();
  e.driver->begin_capture();
  x.forward(context);
  const std::unique_ptr<CapturedGraph> graph = e.driver->end_capture();
  std::fill_n(x.out.data(), want.size(), BFloat16(0));
  graph->launch();
  EXPECT_EQ(x.out.values(), want);
}

struct Refusal {
  const char* name;
  std::function<void(Operands&)> change;
  bool known_in_advance;  // so that no scratch is planned
};
void PrintTo(const Refusal& r, std::ostream* out) { *out << r.name; }

class CudnnRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(CudnnRefusals, AreLeftToOwnKernels) {
  const Emulated e;
  const Context& context = e.gpu->context();
  const Case wide{.name = "wide",
                  .batch = 2,
                  .queries = 16,
                  .keys = 16,
                  .heads = 2,
                  .kv_heads = 2,
                  .head_dim = 144};
  Operands x(*e.gpu, wide);  // memory enough for all of them
  x.attention = attention_of(kSmall);
  x.attention.q = x.qkv.data();
  x.attention.k = x.attention.q + 32;
  x.attention.v = x.attention.k + 32;
  GetParam().change(x);
  EXPECT_EQ(cudnn_forward_scratch(x.attention) == 0, GetParam().known_in_advance);
  EXPECT_EQ(cudnn_backward_scratch(x.attention) == 0, GetParam().known_in_advance);
  // Enough for what is refused when it runs, too.
  const Buffer scratch(attention_backward_scratch(x.attention) + 1024, &e.gpu->driver(),
                       Memory::kDevice);
  attention_forward(context, x.attention, x.out.data(), x.lse.data(), scratch.data());
  attention_backward(context, x.attention, x.out.data(), x.lse.data(), x.out_grad.data(),
                     x.grad.data(), x.grad.data() + 32, x.grad.data() + 64, scratch.data());
  EXPECT_EQ(e.driver->attentions(), 0);
  EXPECT_EQ(e.driver->kernels_run().size(), 4U) << "own kernels compute it";
}

const uint32_t kRandom[4] = {1, 2, 3, 4};
const int32_t kLengths[2] = {9, 16};
const int32_t kSegments[32] = {};
const float kSlopes[2] = {0.5F, 0.25F};
const Refusal kRefusals[] = {
    {"dropout",
     [](Operands& x) {
       x.attention.dropout = 0.25F;
       x.attention.random = kRandom;
     },
     true},
    {"lengths", [](Operands& x) { x.attention.lengths = kLengths; }, false},
    {"segments", [](Operands& x) { x.attention.segments = kSegments; }, false},
    {"alibi", [](Operands& x) { x.attention.alibi_slopes = kSlopes; }, false},
    {"wide_heads", [](Operands& x) { x.attention.head_dim = 136; }, true},
    {"uneven_heads", [](Operands& x) { x.attention.head_dim = 12; }, true},
    {"uneven_rows", [](Operands& x) { x.attention.kv_row -= 1; }, true},
    {"window_of_fewer_queries",
     [](Operands& x) {
       x.attention.capacity = 24;
       x.attention.window = 4;
     },
     true},
    {"more_queries_than_keys", [](Operands& x) { x.attention.capacity = 8; }, true},
    {"unaligned", [](Operands& x) { x.attention.q += 1; }, false},
    {"no_kernel", [](Operands& x) { x.attention.head_dim = 24; }, false},
    {"no_memory", [](Operands& x) { x.attention.head_dim = 48; }, false},
};
INSTANTIATE_TEST_SUITE_P(Every, CudnnRefusals, ::testing::ValuesIn(kRefusals),
                         [](const auto& info) { return std::string(info.param.name); });

struct Division {
  int64_t batch, heads;
  int parts;
};

TEST(CudnnAttention, RunsInPartsWhereItsWorkspaceIsLarge) {
  // What the imitation takes grows with the square of samples times heads: two fit.
  for (const Division d : {Division{1, 2, 1}, {3, 1, 2}, {3, 2, 3}, {1, 4, 2}, {1, 3, 2}}) {
    SCOPED_TRACE(::testing::Message() << d.batch << " samples of " << d.heads << " heads");
    const Emulated e;
    const Operands x(*e.gpu, {.name = "large",
                              .batch = d.batch,
                              .queries = 16,
                              .keys = 16,
                              .heads = d.heads,
                              .kv_heads = d.heads,
                              .head_dim = 40});
    x.backward(e.gpu->context());
    EXPECT_EQ(e.driver->attentions(), d.parts);
    EXPECT_TRUE(e.driver->kernels_run().empty());
  }
}

TEST(CudnnAttention, TheScratchOfLongRowsHasALimit) {
  const Case row{.name = "long",
                 .batch = 3,
                 .queries = 8192,
                 .keys = 8192,
                 .heads = 4,
                 .kv_heads = 4,
                 .head_dim = 64};
  EXPECT_EQ(cudnn_backward_scratch(attention_of(row)), kCudnnScratchLimit);
}

TEST(CudnnAttention, TakesPlaceOnlyInBFloat16) {
  const Gpu gpu(std::make_unique<EmulatedDriver>(EmulatedDriver::Options{.cudnn = true}));
  EXPECT_EQ(gpu.context().cudnn, nullptr);
}

/// A variable of the environment, for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST(CudnnLibrary, OneThatIsNamedMustBeThere) {
  for (const auto& [name, says] : {std::pair{"/no/such/library.so", "/no/such/library.so"},
                                   std::pair{"libm.so.6", "is another library"}}) {
    const Variable named("QUERN_CUDNN_LIBRARY", name);
    try {
      find_cudnn_library();
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "no_cudnn");
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
}

TEST(CudnnLibrary, IsNotLookedForWhereItIsNotWanted) {
  const Variable named("QUERN_CUDNN_LIBRARY", "/no/such/library.so");
  const Variable wanted("QUERN_CUDA_CUDNN", "0");
  EXPECT_EQ(find_cudnn_library(), nullptr);
}

/// As built beside the tests: it is found, and says what it lacks where there is no GPU.
TEST(CudnnLibrary, IsOpenedAsBuilt) {
#if defined(QUERN_CUDNN_BUILT)
  const Variable named("QUERN_CUDNN_LIBRARY", QUERN_CUDNN_BUILT);
  const QuernCudnnLibrary* library = find_cudnn_library();
  ASSERT_NE(library, nullptr);
  EXPECT_EQ(library->version, kCudnnLibraryVersion);
  if (on_gpu()) {
    EXPECT_NE(make_gpu()->context().cudnn, nullptr) << library->last_error();
  } else {
    EXPECT_EQ(library->create(nullptr), nullptr) << "there is no GPU";
    EXPECT_STRNE(library->last_error(), "");
  }
#else
  GTEST_SKIP() << "the headers of cuDNN and its frontend were not found";
#endif
}

}  // namespace
}  // namespace quern::kernels::cuda
