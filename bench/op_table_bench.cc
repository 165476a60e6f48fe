// Times every op forward and backward at the shapes of a training step, as a share of the machine's
// peak: multiply-adds for matrix products, memory reads for the rest.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstring>
#include <string>
#include <vector>

#include "quern/base/random.h"
#include "quern/graph/op.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/tensor/buffer.h"

namespace quern::graph {
namespace {

// GPT-2's block at width 384, 6 heads, 8 sequences of 256.
constexpr int64_t kBatch = 8, kLength = 256, kWidth = 384, kHeads = 6, kHeadDim = 64,
                  kVocabulary = 4096;
constexpr int64_t kRows = kBatch * kLength;

struct OpShape {
  OpCode op;
  std::string label;
  Attrs attrs;
  Types inputs;
  int32_t integers = 1;  // integer inputs are below this
};

TensorType f32(Shape shape) { return {DType::kF32, shape}; }
TensorType i32(Shape shape) { return {DType::kI32, shape}; }

std::vector<OpShape> shapes() {
  const TensorType x = f32({kBatch, kLength, kWidth});
  const TensorType row = f32({kWidth});
  const TensorType none{DType::kBool, {}};
  const TensorType hyper = f32({kHyperCount});
  const TensorType random{DType::kU32, {4}};
  const TensorType qkv = f32({kBatch, kLength, 3 * kWidth});
  const TensorType flat = f32({int64_t{1} << 22});
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

/// One op with its memory, as a plan would lay it out.
class Runner {
 public:
  Runner(const OpShape& shape, const kernels::cpu::Context& context)
      : shape_(shape), entry_(op_entry(shape.op)) {
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
      if (type.dtype == DType::kF32) fill(output_grads_.back(), random);
    }
    if (entry_.backward != nullptr) {
      const uint32_t wanted = entry_.differentiable_inputs(shape.attrs, present) & present;
      for (size_t i = 0; i < inputs_.size(); ++i) {
        input_grads_.push_back((wanted >> i & 1U) != 0 ? make(types[i])
                                                       : TensorView{nullptr, types[i]});
      }
    }
    scratch_ = Buffer(std::max(entry_.forward_scratch(shape.attrs, types),
                               entry_.backward_scratch(shape.attrs, types)) +
                      64);
    if (entry_.flops != nullptr) flops_ = entry_.flops(shape.attrs, types);
    call_.attrs = &shape_.attrs;
    call_.inputs = inputs_;
    call_.outputs = outputs_;
    call_.output_grads = output_grads_;
    call_.input_grads = input_grads_;
    call_.accumulate = accumulate_;
    call_.scratch = scratch_.data();
    call_.context = &context;
    // Touches every page, as the arenas of a running plan are.
    forward();
    if (differentiable()) backward();
  }

  void forward() { entry_.forward(call_); }
  void backward() { entry_.backward(call_); }
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
  TensorView make(const TensorType& type) {
    if (type.dtype == DType::kBool) return {nullptr, type};
    buffers_.emplace_back(type.bytes());
    return {buffers_.back().data(), type};
  }
  void fill(const TensorView& view, Random& random) const {
    for (int64_t i = 0; i < view.elements(); ++i) {
      if (view.type.dtype == DType::kF32) {
        view.f32()[i] = 0.1F + static_cast<float>(random.uniform());
      } else {
        view.i32()[i] = static_cast<int32_t>(random.below(static_cast<uint64_t>(shape_.integers)));
      }
    }
  }

  const OpShape& shape_;
  const OpEntry& entry_;
  std::vector<Buffer> buffers_;
  std::vector<TensorView> inputs_, outputs_, output_grads_, input_grads_;
  std::array<bool, kMaxInputs> accumulate_{};
  Buffer scratch_;
  KernelCall call_;
  double flops_ = 0;
};

void run(benchmark::State& state, const OpShape& shape, bool backward,
         const kernels::cpu::Context& context, const kernels::cpu::Machine& machine) {
  Runner runner(shape, context);
  for (auto _ : state) backward ? runner.backward() : runner.forward();
  // Few operations a byte are bound by memory, whatever they are (one row times a matrix).
  const bool products = runner.flops(backward) > 8 * runner.bytes(backward);
  const double work = products ? runner.flops(backward) / machine.gflops_all
                               : runner.bytes(backward) / machine.read_gb_per_s_all;
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
  const auto machine = quern::kernels::cpu::measure_machine(context);
  const auto shapes = quern::graph::shapes();
  for (const auto& shape : shapes) {
    for (const bool backward : {false, true}) {
      const auto& entry = quern::graph::op_entry(shape.op);
      if (backward && entry.backward == nullptr) continue;
      const std::string name = fmt::format("{}{}{}/{}", entry.name, shape.label.empty() ? "" : " ",
                                           shape.label, backward ? "backward" : "forward");
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&, backward](benchmark::State& state) {
                                     quern::graph::run(state, shape, backward, context, machine);
                                   })
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime()
          ->MinTime(0.1);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}
