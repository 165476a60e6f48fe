// Times every op forward and backward at the shapes of a training step, as a share of the machine's
// peak: multiply-adds for matrix products, memory reads for the rest. With QUERN_BENCH_GPU=float32
// (or tf32, bf16) on the GPU, at GPT-2 124M's shapes, against peaks that it measures first.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "quern/base/random.h"
#include "quern/graph/op.h"
#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/tensor/buffer.h"

namespace quern::graph {
namespace {

/// Of a GPT-2 block. The default suits a processor.
struct Sizes {
  int64_t batch = 8, length = 256, width = 384, heads = 6, head_dim = 64, vocabulary = 4096;
  int64_t flat = int64_t{1} << 22;
};
constexpr Sizes kGpt2{.batch = 64,
                      .length = 1024,
                      .width = 768,
                      .heads = 12,
                      .head_dim = 64,
                      .vocabulary = 50304,
                      .flat = 124439808};

struct OpShape {
  OpCode op;
  std::string label;
  Attrs attrs;
  Types inputs;
  int64_t integers = 1;  // integer inputs are below this
};

TensorType f32(Shape shape) { return {DType::kF32, shape}; }
TensorType i32(Shape shape) { return {DType::kI32, shape}; }

std::vector<OpShape> shapes(const Sizes& sizes) {
  const auto [kBatch, kLength, kWidth, kHeads, kHeadDim, kVocabulary, kFlat] = sizes;
  const int64_t kRows = kBatch * kLength;
  const TensorType x = f32({kBatch, kLength, kWidth});
  const TensorType row = f32({kWidth});
  const TensorType none{DType::kBool, {}};
  const TensorType hyper = f32({kHyperCount});
  const TensorType random{DType::kU32, {4}};
  const TensorType qkv = f32({kBatch, kLength, 3 * kWidth});
  const TensorType flat = f32({kFlat});
  const TensorType cache = f32({kBatch, kHeads, 2 * kLength, kHeadDim});
  const HeadsAttrs heads{kHeads, kHeads, kHeadDim};
  AttentionAttrs attention;
  attention.heads = attention.kv_heads = kHeads;
  attention.head_dim = kHeadDim;
  attention.scale = 0.125F;
  return {
      {OpCode::kEmbedding,
       "",
       EmbeddingAttrs{},
       {i32({kBatch, kLength}), f32({kVocabulary, kWidth})},
       kVocabulary},
      {OpCode::kLinear,
       "up, gelu",
       LinearAttrs{Activation::kGeluTanh},
       {x, f32({4 * kWidth, kWidth}), f32({4 * kWidth})}},
      {OpCode::kLinear,
       "down, residual",
       LinearAttrs{},
       {f32({kBatch, kLength, 4 * kWidth}), f32({kWidth, 4 * kWidth}), row, x}},
      {OpCode::kLinear, "logits", LinearAttrs{}, {x, f32({kVocabulary, kWidth})}},
      {OpCode::kLinear,
       "decode, 1 row",
       LinearAttrs{},
       {f32({1, 1, kWidth}), f32({4 * kWidth, kWidth})}},
      {OpCode::kNorm, "layer", NormAttrs{}, {x, none, row, row}},
      {OpCode::kNorm, "rms, of a sum", NormAttrs{true, 1e-5F}, {x, x, row}},
      {OpCode::kRope, "", heads, {qkv, f32({kLength, kHeadDim})}},
      {OpCode::kAttention, "causal", attention, {qkv}},
      {OpCode::kCacheWrite, "", heads, {qkv, cache, cache, i32({kBatch})}},
      {OpCode::kActivation, "gelu", ActivationAttrs{Activation::kGelu}, {f32({kRows, 4 * kWidth})}},
      {OpCode::kGatedUnit, "silu", ActivationAttrs{Activation::kSilu}, {f32({kRows, 8 * kWidth})}},
      {OpCode::kAdd, "", ScaleAttrs{}, {x, x}},
      {OpCode::kMultiply, "row", {}, {x, row}},
      {OpCode::kScale, "", ScaleAttrs{2}, {x}},
      {OpCode::kDropout, "", DropoutAttrs{0.1F}, {x, random, x}},
      {OpCode::kCrossEntropy,
       "",
       CrossEntropyAttrs{},
       {f32({kRows, kVocabulary}), i32({kRows}), f32({1})},
       kVocabulary},
      {OpCode::kSoftmax, "", {}, {f32({kRows, kVocabulary})}},
      {OpCode::kSlice, "last axis", AxisAttrs{2, 0, kWidth / 2}, {x}},
      {OpCode::kConcat, "last axis", AxisAttrs{2}, {x, x}},
      {OpCode::kGatherRows, "", {}, {x, i32({kBatch})}, kLength},
      {OpCode::kReduce, "mean", ReduceAttrs{}, {x}},
      // The stem of a picture model: 64 pictures of 28 × 28, 32 and 64 channels.
      {OpCode::kConvolve, "grey to 32", WindowAttrs{3, 1, 1}, {f32({64, 28, 28, 1}), f32({32, 9})}},
      {OpCode::kConvolve,
       "32 to 64",
       WindowAttrs{3, 1, 1},
       {f32({64, 14, 14, 32}), f32({64, 9 * 32})}},
      {OpCode::kMaxPool, "relu", WindowAttrs{3, 2, 1, true}, {f32({64, 28, 28, 32})}},
      {OpCode::kUnfold, "patches of 4", WindowAttrs{4, 4, 0}, {f32({64, 28, 28, 1})}},
      {OpCode::kPool, "", {}, {f32({64, 49, 64}), f32({64, 49})}},
      {OpCode::kCast, "to BF16", CastAttrs{DType::kBF16}, {x}},
      {OpCode::kGradientNorm, "", {}, {flat}},
      {OpCode::kAdamW, "", OptimizerAttrs{}, {flat, flat, flat, flat, hyper, f32({1})}},
      {OpCode::kMuon,
       "",
       OptimizerAttrs{},
       {f32({4 * kWidth, kWidth}), f32({4 * kWidth, kWidth}), f32({4 * kWidth, kWidth}), hyper}},
      {OpCode::kEma, "", OptimizerAttrs{}, {flat, flat, hyper}},
  };
}

/// With activations in BF16, where the op takes them so.
OpShape narrowed(OpShape shape) {
  const OpEntry& entry = op_entry(shape.op);
  for (size_t i = 0; i < shape.inputs.size(); ++i) {
    TensorType& type = shape.inputs[i];
    if ((entry.activations >> i & 1U) != 0 && type.dtype == DType::kF32) type.dtype = DType::kBF16;
  }
  if (auto* embedding = std::get_if<EmbeddingAttrs>(&shape.attrs)) embedding->dtype = DType::kBF16;
  return shape;
}

/// One op with its memory, as a plan would lay it out.
class Runner {
 public:
  Runner(const OpShape& shape, const kernels::cpu::Context& context, kernels::cuda::Gpu* gpu)
      : shape_(shape), entry_(op_entry(shape.op)), gpu_(gpu) {
    Types types = shape.inputs;
    types.resize(entry_.max_inputs, TensorType{DType::kBool, {}});
    Random random(1, Stream::kTest);
    uint32_t present = 0;
    for (size_t i = 0; i < shape.inputs.size(); ++i) {
      inputs_.push_back(make(types[i]));
      if (!inputs_.back()) continue;
      present |= 1U << i;
      fill(inputs_.back(), random);
    }
    for (const TensorType& type : entry_.infer(shape.attrs, types)) {
      outputs_.push_back(make(type));
      output_grads_.push_back(make(type));
      if (type.dtype == DType::kF32 || type.dtype == DType::kBF16)
        fill(output_grads_.back(), random);
    }
    if (entry_.backward != nullptr) {
      const uint32_t wanted = entry_.differentiable_inputs(shape.attrs, present) & present;
      for (size_t i = 0; i < inputs_.size(); ++i) {
        TensorType type = types[i];
        // Of a layer's parameters, in float32 whatever their copies are.
        if (shape.op == OpCode::kLinear && (i == 1 || i == 2) && inputs_[i])
          type.dtype = DType::kF32;
        input_grads_.push_back((wanted >> i & 1U) != 0 ? make(type) : TensorView{nullptr, type});
      }
    }
    scratch_ = make_buffer(scratch_bytes(types) + 64);
    if (entry_.flops != nullptr) flops_ = entry_.flops(shape.attrs, types);
    call_.attrs = &shape_.attrs;
    call_.inputs = inputs_;
    call_.outputs = outputs_;
    call_.output_grads = output_grads_;
    call_.input_grads = input_grads_;
    call_.accumulate = accumulate_;
    call_.scratch = scratch_.data();
    call_.context = &context;
    if (gpu_ != nullptr) call_.cuda = &gpu_->context();
    // Touches every page, as the arenas of a running plan are.
    forward();
    if (differentiable()) backward();
  }

  void forward() { run(entry_.forward, entry_.cuda.forward); }
  void backward() { run(entry_.backward, entry_.cuda.backward); }
  bool differentiable() const { return entry_.backward != nullptr; }
  double flops(bool backward) const { return flops_ * (backward ? 2 : 1); }
  /// Bytes that must pass: inputs and outputs once, and in backward the gradients too.
  double bytes(bool backward) const {
    double total = 0;
    for (const auto* list : {&inputs_, &outputs_}) {
      for (const TensorView& view : *list) total += static_cast<double>(view.type.bytes());
    }
    if (!backward) return total;
    total = 0;
    for (const auto* list : {&output_grads_, &input_grads_}) {
      for (const TensorView& view : *list) {
        if (view) total += static_cast<double>(view.type.bytes());
      }
    }
    return total;
  }

 private:
  using Kernel = void (*)(const KernelCall&);
  void run(Kernel cpu, Kernel cuda) const {
    if (gpu_ == nullptr) return cpu(call_);
    cuda(call_);
    gpu_->driver().synchronize();
  }
  size_t scratch_bytes(const Types& types) const {
    if (gpu_ == nullptr) {
      return std::max(entry_.forward_scratch(shape_.attrs, types),
                      entry_.backward_scratch(shape_.attrs, types));
    }
    size_t bytes = 0;
    for (const auto scratch : {entry_.cuda.forward_scratch, entry_.cuda.backward_scratch}) {
      if (scratch != nullptr) bytes = std::max(bytes, scratch(shape_.attrs, types));
    }
    return bytes;
  }
  Buffer make_buffer(size_t bytes) const {
    return gpu_ == nullptr ? Buffer(bytes) : Buffer(bytes, &gpu_->driver(), Memory::kShared);
  }
  TensorView make(const TensorType& type) {
    if (type.dtype == DType::kBool) return {nullptr, type};
    buffers_.push_back(make_buffer(type.bytes()));
    return {buffers_.back().data(), type};
  }
  void fill(const TensorView& view, Random& random) const {
    for (int64_t i = 0; i < view.elements(); ++i) {
      if (view.type.dtype == DType::kF32) {
        view.f32()[i] = 0.1F + static_cast<float>(random.uniform());
      } else if (view.type.dtype == DType::kBF16) {
        view.as<kernels::BFloat16>()[i] = 0.1F + static_cast<float>(random.uniform());
      } else {
        view.i32()[i] = static_cast<int32_t>(random.below(static_cast<uint64_t>(shape_.integers)));
      }
    }
  }

  const OpShape& shape_;
  const OpEntry& entry_;
  kernels::cuda::Gpu* gpu_;
  std::vector<Buffer> buffers_;
  std::vector<TensorView> inputs_, outputs_, output_grads_, input_grads_;
  std::array<bool, kMaxInputs> accumulate_{};
  Buffer scratch_;
  KernelCall call_;
  double flops_ = 0;
};

/// What a share is of: 10⁹ floating-point operations, and 10⁹ bytes, a second.
struct Peaks {
  double gflops = 0, gb_per_s = 0;
};

/// The best of ten runs, in seconds.
double fastest(Runner& runner) {
  double best = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    runner.forward();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

/// A product of 8,192 x 8,192 matrices, and a copy of a GiB.
Peaks measure_gpu(const kernels::cpu::Context& context, kernels::cuda::Gpu& gpu) {
  const TensorType square = f32({8192, 8192});
  const OpShape product{OpCode::kLinear, "", LinearAttrs{}, {square, square}};
  const OpShape copy{OpCode::kScale, "", ScaleAttrs{2}, {f32({int64_t{1} << 28})}};
  const bool bf16 = gpu.context().precision == kernels::cuda::Precision::kBf16;
  const OpShape narrow = narrowed(product);
  Runner products(bf16 ? narrow : product, context, &gpu);
  Runner copies(copy, context, &gpu);
  return {products.flops(false) / fastest(products) * 1e-9,
          copies.bytes(false) / fastest(copies) * 1e-9};
}

void run(benchmark::State& state, const OpShape& shape, bool backward,
         const kernels::cpu::Context& context, kernels::cuda::Gpu* gpu, const Peaks& peaks) {
  Runner runner(shape, context, gpu);
  for (auto _ : state) backward ? runner.backward() : runner.forward();
  // Few operations a byte are bound by memory, whatever they are (one row times a matrix).
  const bool products = runner.flops(backward) > 8 * runner.bytes(backward);
  const double work =
      products ? runner.flops(backward) / peaks.gflops : runner.bytes(backward) / peaks.gb_per_s;
  const auto iterations = static_cast<double>(state.iterations());
  // Work in units of what the machine does in a second: the rate is the share of its peak.
  state.counters[products ? "of_fma_peak" : "of_read_peak"] =
      benchmark::Counter(work * 1e-9 * iterations, benchmark::Counter::kIsRate);
}

}  // namespace
}  // namespace quern::graph

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  quern::ThreadPool pool;
  const quern::kernels::cpu::Context context{pool};
  std::unique_ptr<quern::kernels::cuda::Gpu> gpu;
  quern::graph::Peaks peaks;
  if (const char* precision = std::getenv("QUERN_BENCH_GPU")) {
    using enum quern::kernels::cuda::Precision;
    const std::string_view name = precision;
    gpu = quern::kernels::cuda::open_gpu(name == "bf16"   ? kBf16
                                         : name == "tf32" ? kTf32
                                                          : kFloat32);
    peaks = quern::graph::measure_gpu(context, *gpu);
    fmt::print(stderr, "{}: {:.1f} TFLOP/s, {:.0f} GB/s\n", gpu->driver().describe(),
               peaks.gflops / 1e3, peaks.gb_per_s);
  } else {
    const auto machine = quern::kernels::cpu::measure_machine(context);
    peaks = {machine.gflops_all, machine.read_gb_per_s_all};
  }
  auto shapes = quern::graph::shapes(gpu != nullptr ? quern::graph::kGpt2 : quern::graph::Sizes{});
  if (gpu != nullptr && gpu->context().precision == quern::kernels::cuda::Precision::kBf16) {
    for (auto& shape : shapes) shape = quern::graph::narrowed(shape);
  }
  for (const auto& shape : shapes) {
    for (const bool backward : {false, true}) {
      const auto& entry = quern::graph::op_entry(shape.op);
      if (backward && entry.backward == nullptr) continue;
      const std::string name = fmt::format("{}{}{}/{}", entry.name, shape.label.empty() ? "" : " ",
                                           shape.label, backward ? "backward" : "forward");
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&, backward](benchmark::State& state) {
                                     quern::graph::run(state, shape, backward, context, gpu.get(),
                                                       peaks);
                                   })
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime()
          ->MinTime(0.1);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}
