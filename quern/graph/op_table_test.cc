#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "quern/base/random.h"
#include "quern/graph/op_cases.h"
#include "quern/kernels/cpu/dispatch.h"
#include "quern/tensor/buffer.h"

// Walks the op table: every op against its reference, each instruction set against the best one,
// and finite differences of the reference against both backward passes.
namespace quern::graph::testing {
namespace {

using kernels::cpu::Context;

/// A tensor with memory of its own.
struct Tensor {
  TensorType type{DType::kBool, {}};
  Buffer buffer;
  bool present = false;

  Tensor() = default;
  explicit Tensor(const TensorType& t)
      : type(t), buffer(std::max<size_t>(1, t.bytes())), present(true) {}
  Tensor clone() const {
    if (!present) return {};
    Tensor copy(type);
    std::memcpy(copy.buffer.data(), buffer.data(), type.bytes());
    return copy;
  }
  TensorView view() const { return {buffer.data(), type}; }
  std::span<float> floats() const { return view().f32_span(); }
};

bool is_f32(const Tensor& tensor) { return tensor.present && tensor.type.dtype == DType::kF32; }

Tensor make(const InputSpec& spec, Random& random) {
  using Fill = InputSpec::Fill;
  if (spec.fill == Fill::kAbsent) return {};
  Tensor tensor(spec.type);
  const auto count = static_cast<size_t>(spec.type.shape.elements());
  for (size_t i = 0; i < count; ++i) {
    float& f = tensor.view().f32()[i];
    int32_t& n = tensor.view().i32()[i];
    switch (spec.fill) {
      case Fill::kNormal:
        f = spec.scale * static_cast<float>(random.normal());
        break;
      case Fill::kAwayFromZero: {
        const double value = random.normal();
        f = static_cast<float>(value + std::copysign(0.1, value));
        break;
      }
      case Fill::kPositive:
        f = static_cast<float>(0.5 + random.uniform());
        break;
      case Fill::kIntegers:
        n = spec.low +
            static_cast<int32_t>(random.below(static_cast<uint64_t>(spec.high - spec.low)));
        break;
      case Fill::kGiven:
        if (spec.integers.empty()) {
          f = spec.floats.at(i);
        } else {
          n = spec.integers.at(i);
        }
        break;
      case Fill::kAbsent:
        break;
    }
  }
  return tensor;
}

/// One op with the memory that a plan would give it: outputs and scratch start as NaN, and what
/// backward did not save is not there.
class Bench {
 public:
  Bench(const OpCase& op_case, ThreadPool& pool)
      : case_(op_case), entry_(op_entry(op_case.op)), context_{pool} {
    Random random(17, Stream::kTest, static_cast<uint64_t>(op_case.op));
    for (const InputSpec& spec : op_case.inputs) {
      inputs.push_back(make(spec, random));
      if (inputs.back().present) present_ |= 1U << (inputs.size() - 1);
    }
    Types types;
    for (size_t i = 0; i < entry_.max_inputs; ++i)
      types.push_back(i < inputs.size() ? inputs[i].type : TensorType{DType::kBool, {}});
    output_types_ = entry_.infer(case_.attrs, types);
    for (const TensorType& type : output_types_) {
      output_grads.emplace_back(type);
      if (type.dtype == DType::kF32) {
        for (float& value : output_grads.back().floats())
          value = static_cast<float>(random.normal());
      } else if (type.dtype == DType::kF64) {
        auto* data = reinterpret_cast<double*>(output_grads.back().buffer.data());
        for (int64_t i = 0; i < type.shape.elements(); ++i) data[i] = random.normal();
      }  // of smaller floats: zero
    }
    forward_scratch_ = entry_.forward_scratch(case_.attrs, types);
    backward_scratch_ = entry_.backward_scratch(case_.attrs, types);
  }

  uint32_t differentiable() const {
    if (entry_.backward == nullptr) return 0;
    uint32_t mask = entry_.differentiable_inputs(case_.attrs, present_) & present_;
    return mask;
  }

  std::vector<Tensor> forward(bool reference) {
    std::vector<Tensor> outputs;
    for (const TensorType& type : output_types_) outputs.push_back(poisoned(type));
    std::vector<Tensor> before;
    for (const Tensor& input : inputs) before.push_back(input.clone());
    const auto input_views = views(inputs);
    const auto output_views = views(outputs);
    KernelCall call = base_call(forward_scratch_);
    call.inputs = input_views;
    call.outputs = output_views;
    (reference ? entry_.reference_forward : entry_.forward)(call);
    check_guard();
    if (entry_.kind == OpKind::kStateful) {
      // What a stateful op writes are its inputs: give them back as results, then restore them.
      outputs.clear();
      for (size_t i = 0; i < inputs.size(); ++i) {
        outputs.push_back(inputs[i].clone());
        inputs[i] = std::move(before[i]);
      }
    } else {
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (inputs[i].present) {
          EXPECT_EQ(0, std::memcmp(inputs[i].buffer.data(), before[i].buffer.data(),
                                   inputs[i].type.bytes()))
              << "forward wrote over input " << entry_.input_names[i];
        }
      }
    }
    return outputs;
  }

  /// Gradients of all differentiable inputs; they start as NaN, or with accumulate as ones.
  std::vector<Tensor> backward(const std::vector<Tensor>& outputs, bool reference,
                               bool accumulate) {
    const Saved saved = entry_.saved(case_.attrs, present_);
    auto input_views = views(inputs);
    auto output_views = views(outputs);
    for (size_t i = 0; i < input_views.size(); ++i) {
      if ((saved.inputs >> i & 1U) == 0) input_views[i].data = nullptr;
    }
    for (size_t i = 0; i < output_views.size(); ++i) {
      if ((saved.outputs >> i & 1U) == 0) output_views[i].data = nullptr;
    }
    std::vector<Tensor> grads;
    std::array<bool, kMaxInputs> add{};
    for (size_t i = 0; i < inputs.size(); ++i) {
      grads.emplace_back();
      if ((differentiable() >> i & 1U) == 0) continue;
      grads.back() = poisoned(inputs[i].type);
      add[i] = accumulate && (entry_.overwrites_gradient >> i & 1U) == 0;
      if (add[i]) std::fill(grads.back().floats().begin(), grads.back().floats().end(), 1.0F);
    }
    std::vector<Tensor> given;
    for (size_t i = 0; i < output_grads.size(); ++i) {
      const bool flows = (entry_.differentiable_outputs >> i & 1U) != 0 && flows_[i];
      given.push_back(flows ? output_grads[i].clone() : Tensor{});
      if (!flows) given.back().type = output_types_[i];
    }
    const auto given_views = views(given);
    const auto grad_views = views(grads);
    KernelCall call = base_call(backward_scratch_);
    call.inputs = input_views;
    call.outputs = output_views;
    call.output_grads = given_views;
    call.input_grads = grad_views;
    call.accumulate = add;
    (reference ? entry_.reference_backward : entry_.backward)(call);
    check_guard();
    for (size_t i = 0; i < grads.size(); ++i) {
      if (!add[i] || !grads[i].present) continue;
      for (float& value : grads[i].floats()) value -= 1.0F;
    }
    return grads;
  }

  /// Σ output_grad · output in float64, of the reference.
  double weighted_sum() {
    const std::vector<Tensor> outputs = forward(true);
    double sum = 0;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if ((entry_.differentiable_outputs >> i & 1U) == 0 || !flows_[i]) continue;
      for (int64_t k = 0; k < outputs[i].type.shape.elements(); ++k) {
        if (outputs[i].type.dtype == DType::kF64) {
          sum += reinterpret_cast<const double*>(outputs[i].buffer.data())[k] *
                 reinterpret_cast<const double*>(output_grads[i].buffer.data())[k];
        } else if (outputs[i].type.dtype == DType::kF32) {
          sum += static_cast<double>(outputs[i].floats()[static_cast<size_t>(k)]) *
                 static_cast<double>(output_grads[i].floats()[static_cast<size_t>(k)]);
        }
      }
    }
    return sum;
  }

  /// Lets gradients flow back from this output only, or from all.
  void flow_only(size_t output) {
    for (size_t i = 0; i < flows_.size(); ++i) flows_[i] = i == output;
  }

  std::vector<Tensor> inputs, output_grads;

 private:
  static constexpr size_t kGuard = 256;

  static Tensor poisoned(const TensorType& type) {
    Tensor tensor(type);
    std::memset(tensor.buffer.data(), 0xFF, type.bytes());  // NaN in every float format
    return tensor;
  }
  static std::vector<TensorView> views(const std::vector<Tensor>& tensors) {
    std::vector<TensorView> result;
    for (const Tensor& tensor : tensors) result.push_back(tensor.view());
    return result;
  }
  KernelCall base_call(size_t scratch_bytes) {
    scratch_bytes_ = scratch_bytes;
    scratch_ = Buffer(scratch_bytes + kGuard);
    std::memset(scratch_.data(), 0xFF, scratch_.size());
    KernelCall call;
    call.attrs = &case_.attrs;
    call.scratch = scratch_.data();
    call.context = &context_;
    return call;
  }
  void check_guard() const {
    for (size_t i = scratch_bytes_; i < scratch_.size(); ++i)
      ASSERT_EQ(scratch_.data()[i], std::byte{0xFF}) << "scratch overrun at byte " << i;
  }

  const OpCase& case_;
  const OpEntry& entry_;
  Context context_;
  Types output_types_;
  uint32_t present_ = 0;
  size_t forward_scratch_ = 0, backward_scratch_ = 0, scratch_bytes_ = 0;
  std::array<bool, kMaxOutputs> flows_{true, true, true};
  Buffer scratch_;
};

std::string title(const OpCase& c) {
  return std::string(op_entry(c.op).name) + " (" + c.label + ")";
}

void expect_close(const Tensor& got, const Tensor& want, float tolerance, const std::string& what) {
  ASSERT_EQ(got.present, want.present) << what;
  if (!got.present) return;
  if (!is_f32(got)) {
    EXPECT_EQ(0, std::memcmp(got.buffer.data(), want.buffer.data(), got.type.bytes())) << what;
    return;
  }
  float largest = 1e-3F;
  for (const float value : want.floats()) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  for (size_t i = 0; i < got.floats().size(); ++i) {
    const float a = got.floats()[i];
    const float b = want.floats()[i];
    if (a == b) continue;  // infinities of masked rows
    ASSERT_LE(std::fabs(a - b), tolerance * largest)
        << what << ", element " << i << ": " << a << ", the reference gives " << b;
  }
}

class OpTable : public ::testing::TestWithParam<OpCase> {
 protected:
  ThreadPool pool_{2};
};

TEST_P(OpTable, KernelMatchesReference) {
  const OpCase& c = GetParam();
  Bench bench(c, pool_);
  const std::vector<Tensor> want = bench.forward(true);
  const std::vector<Tensor> got = bench.forward(false);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    expect_close(got[i], want[i], c.tolerance, "result " + std::to_string(i));
  if (bench.differentiable() == 0) return;
  // Added to ones that are then taken off, the gradients must be those that overwriting gives.
  const auto want_grads = bench.backward(want, true, false);
  for (const bool reference : {false, true}) {
    for (const bool accumulate : {false, true}) {
      const auto got_grads = bench.backward(want, reference, accumulate);
      for (size_t i = 0; i < want_grads.size(); ++i) {
        expect_close(got_grads[i], want_grads[i], c.tolerance,
                     std::string("gradient of ") + std::string(op_entry(c.op).input_names[i]) +
                         (reference ? ", reference" : "") + (accumulate ? ", accumulated" : ""));
      }
    }
  }
}

TEST_P(OpTable, SameOnEveryInstructionSet) {
  const OpCase& c = GetParam();
  Bench bench(c, pool_);
  const std::vector<Tensor> want = bench.forward(false);
  const auto want_grads =
      bench.differentiable() != 0 ? bench.backward(want, false, false) : std::vector<Tensor>{};
  for (const std::string_view isa : kernels::cpu::available_isas()) {
    SCOPED_TRACE(isa);
    kernels::cpu::force_isa(isa);
    const std::vector<Tensor> got = bench.forward(false);
    for (size_t i = 0; i < want.size(); ++i)
      expect_close(got[i], want[i], 2 * c.tolerance, "result " + std::to_string(i));
    if (want_grads.empty()) continue;
    const auto got_grads = bench.backward(want, false, false);
    for (size_t i = 0; i < want_grads.size(); ++i)
      expect_close(got_grads[i], want_grads[i], 2 * c.tolerance, "gradient " + std::to_string(i));
  }
  kernels::cpu::force_isa("");
}

/// Central differences of the reference: h balances h² of truncation against float32 rounding of
/// the outputs over h.
TEST_P(OpTable, FiniteDifferences) {
  const OpCase& c = GetParam();
  const OpEntry& entry = op_entry(c.op);
  Bench bench(c, pool_);
  if (bench.differentiable() == 0) return;
  constexpr double kStep = 4e-3;
  for (size_t flow = 0; flow <= kMaxOutputs; ++flow) {
    // All outputs together, then each alone where there is more than one to take gradients from.
    if (flow > 0) {
      if (std::popcount(entry.differentiable_outputs) < 2 || flow > 2) break;
      bench.flow_only(flow - 1);
    }
    const auto outputs = bench.forward(true);
    const auto grads = bench.backward(outputs, true, false);
    for (size_t i = 0; i < bench.inputs.size(); ++i) {
      if ((bench.differentiable() >> i & 1U) == 0) continue;
      const auto values = bench.inputs[i].floats();
      double largest = 0.1;
      for (const float g : grads[i].floats()) {
        ASSERT_TRUE(std::isfinite(g)) << entry.input_names[i];
        largest = std::max(largest, std::fabs(static_cast<double>(g)));
      }
      // Large inputs: a sample of elements, prime steps apart.
      const size_t stride = values.size() > 400 ? values.size() / 97 | 1U : 1;
      for (size_t k = 0; k < values.size(); k += stride) {
        const float x = values[k];
        values[k] = static_cast<float>(static_cast<double>(x) + kStep);
        const double up_at = static_cast<double>(values[k]);
        const double up = bench.weighted_sum();
        values[k] = static_cast<float>(static_cast<double>(x) - kStep);
        const double slope = (up - bench.weighted_sum()) / (up_at - static_cast<double>(values[k]));
        values[k] = x;
        ASSERT_NEAR(static_cast<double>(grads[i].floats()[k]), slope, 2e-3 * largest)
            << "gradient of " << entry.input_names[i] << ", element " << k << ", flow " << flow;
      }
    }
  }
}

std::string parameter_name(const ::testing::TestParamInfo<OpCase>& info) {
  std::string name = std::to_string(info.index) + "_" + title(info.param);
  for (char& ch : name) {
    if (std::isalnum(static_cast<unsigned char>(ch)) == 0) ch = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Every, OpTable, ::testing::ValuesIn(op_cases()), parameter_name);

TEST(OpTableEntries, AreComplete) {
  std::set<OpCode> with_case;
  std::map<OpCode, uint32_t> seen;  // inputs that some case gives, and that some case leaves out
  std::map<OpCode, uint32_t> left_out;
  for (const OpCase& c : op_cases()) {
    with_case.insert(c.op);
    for (size_t i = 0; i < op_entry(c.op).max_inputs; ++i) {
      const bool given = i < c.inputs.size() && c.inputs[i].fill != InputSpec::Fill::kAbsent;
      (given ? seen : left_out)[c.op] |= 1U << i;
    }
  }
  for (size_t i = 0; i < static_cast<size_t>(OpCode::kCount); ++i) {
    const OpEntry& entry = op_table()[i];
    SCOPED_TRACE(i);
    ASSERT_EQ(static_cast<size_t>(entry.code), i) << "an OpCode without an entry";
    SCOPED_TRACE(entry.name);
    EXPECT_FALSE(entry.name.empty());
    EXPECT_TRUE(entry.infer && entry.saved && entry.forward_scratch && entry.backward_scratch);
    EXPECT_TRUE(entry.forward && entry.reference_forward);
    if (entry.kind == OpKind::kDifferentiable) {
      EXPECT_TRUE(entry.backward && entry.reference_backward && entry.differentiable_inputs)
          << "a differentiable op without a backward";
    }
    EXPECT_TRUE(with_case.contains(entry.code)) << "an op without a test case";
    const uint32_t all = (1U << entry.max_inputs) - 1;
    EXPECT_EQ(seen[entry.code], all) << "an input that no case gives";
    EXPECT_EQ(left_out[entry.code], all & ~entry.required_inputs)
        << "an optional input that no case leaves out";
    for (size_t k = 0; k < entry.max_inputs; ++k) EXPECT_FALSE(entry.input_names[k].empty());
  }
}

}  // namespace
}  // namespace quern::graph::testing
