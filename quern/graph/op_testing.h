#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "quern/base/random.h"
#include "quern/graph/op_cases.h"
#include "quern/graph/quantized.h"
#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/tensor/buffer.h"

// One op with the memory that a plan would give it, for the tests that walk the table.
namespace quern::graph::testing {

using kernels::cpu::Context;

/// Which of an op's kernels run.
enum class Column : uint8_t { kReference, kCpu, kCuda };

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

inline bool is_f32(const Tensor& tensor) {
  return tensor.present && tensor.type.dtype == DType::kF32;
}

/// The same values in BF16, rounded; and back.
inline Tensor narrowed(const Tensor& wide) {
  Tensor tensor({DType::kBF16, wide.type.shape});
  auto* values = tensor.view().as<kernels::BFloat16>();
  for (const float value : wide.floats()) *values++ = value;
  return tensor;
}
inline Tensor widened(const Tensor& narrow) {
  Tensor tensor({DType::kF32, narrow.type.shape});
  const auto* values = narrow.view().as<kernels::BFloat16>();
  for (float& value : tensor.floats()) value = *values++;
  return tensor;
}

inline Tensor make(const InputSpec& spec, Random& random) {
  using Fill = InputSpec::Fill;
  if (spec.fill == Fill::kAbsent) return {};
  if (spec.type.dtype == DType::kBF16) {
    InputSpec wide = spec;
    wide.type.dtype = DType::kF32;
    return narrowed(make(wide, random));
  }
  if (is_quantized(spec.type.dtype)) {
    InputSpec wide = spec;
    wide.type.dtype = DType::kF32;
    const Tensor values = make(wide, random);
    Tensor tensor(spec.type);
    kernels::quantize(values.floats().data(), quantized_matrix(tensor.view()),
                      tensor.buffer.data());
    return tensor;
  }
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
  Bench(const OpCase& op_case, ThreadPool& pool, kernels::cuda::Gpu* gpu = nullptr)
      : case_(op_case), entry_(op_entry(op_case.op)), context_{pool}, gpu_(gpu) {
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
    const auto scratch = [&](auto cpu, auto cuda) -> Scratch {
      return {cpu(case_.attrs, types), cuda == nullptr ? 0 : cuda(case_.attrs, types)};
    };
    forward_scratch_ = scratch(entry_.forward_scratch, entry_.cuda.forward_scratch);
    backward_scratch_ = scratch(entry_.backward_scratch, entry_.cuda.backward_scratch);
    if (has_both()) {
      both_scratch_ =
          scratch(entry_.forward_backward_scratch, entry_.cuda.forward_backward_scratch);
    }
  }

  uint32_t differentiable() const {
    if (entry_.backward == nullptr) return 0;
    uint32_t mask = entry_.differentiable_inputs(case_.attrs, present_) & present_;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (is_quantized(inputs[i].type.dtype)) mask &= ~(1U << i);
    }
    return mask;
  }

  std::vector<Tensor> forward(Column column) {
    std::vector<Tensor> outputs;
    for (const TensorType& type : output_types_) outputs.push_back(poisoned(type));
    std::vector<Tensor> before;
    for (const Tensor& input : inputs) before.push_back(input.clone());
    const auto input_views = views(inputs);
    const auto output_views = views(outputs);
    KernelCall call = base_call(forward_scratch_.of(column));
    call.inputs = input_views;
    call.outputs = output_views;
    run(call, column, entry_.reference_forward, entry_.forward, entry_.cuda.forward);
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
  std::vector<Tensor> backward(const std::vector<Tensor>& outputs, Column column, bool accumulate) {
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
      TensorType type = inputs[i].type;
      if ((wide_gradients >> i & 1U) != 0) type.dtype = DType::kF32;
      grads.back() = poisoned(type);
      add[i] = accumulate && (entry_.overwrites_gradient >> i & 1U) == 0;
      if (add[i]) change(grads.back(), [](float) { return 1.0F; });
    }
    std::vector<Tensor> given;
    for (size_t i = 0; i < output_grads.size(); ++i) {
      const bool flows = (entry_.differentiable_outputs >> i & 1U) != 0 && flows_[i];
      given.push_back(flows ? output_grads[i].clone() : Tensor{});
      if (!flows) given.back().type = output_types_[i];
    }
    const auto given_views = views(given);
    const auto grad_views = views(grads);
    KernelCall call = base_call(backward_scratch_.of(column));
    call.inputs = input_views;
    call.outputs = output_views;
    call.output_grads = given_views;
    call.input_grads = grad_views;
    call.accumulate = add;
    run(call, column, entry_.reference_backward, entry_.backward, entry_.cuda.backward);
    check_guard();
    for (size_t i = 0; i < grads.size(); ++i) {
      if (!add[i] || !grads[i].present) continue;
      change(grads[i], [](float value) { return value - 1.0F; });
    }
    return grads;
  }

  /// Whether the op makes a loss and its gradient at once.
  bool has_both() const { return entry_.forward_backward != nullptr; }

  /// Outputs by the kernel that makes the gradients, too, and those; with `in_place`, where the op
  /// allows it, the gradient takes the place of a copy of its input.
  struct Both {
    std::vector<Tensor> outputs, grads;
  };
  Both both(Column column, bool in_place) {
    Both result;
    std::vector<Tensor> given;
    auto input_views = views(inputs);
    for (size_t i = 0; i < output_types_.size(); ++i) {
      result.outputs.push_back(poisoned(output_types_[i]));
      given.push_back((entry_.differentiable_outputs >> i & 1U) != 0 ? output_grads[i].clone()
                                                                     : Tensor{});
      given.back().type = output_types_[i];
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      result.grads.emplace_back();
      if ((differentiable() >> i & 1U) == 0) continue;
      result.grads.back() = in_place ? inputs[i].clone() : poisoned(inputs[i].type);
      if (in_place) input_views[i] = result.grads.back().view();
    }
    const auto output_views = views(result.outputs);
    const auto given_views = views(given);
    const auto grad_views = views(result.grads);
    const std::array<bool, kMaxInputs> add{};
    KernelCall call = base_call(both_scratch_.of(column));
    call.inputs = input_views;
    call.outputs = output_views;
    call.output_grads = given_views;
    call.input_grads = grad_views;
    call.accumulate = add;
    run(call, column, entry_.reference_forward_backward, entry_.forward_backward,
        entry_.cuda.forward_backward);
    check_guard();
    return result;
  }

  /// Σ output_grad · output in float64, of the reference.
  double weighted_sum() {
    const std::vector<Tensor> outputs = forward(Column::kReference);
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
  uint32_t wide_gradients = 0;  // of BF16 inputs, those with gradients in F32; a mask

 private:
  template <typename Map>
  static void change(const Tensor& tensor, const Map& map) {
    if (is_f32(tensor)) {
      for (float& value : tensor.floats()) value = map(value);
      return;
    }
    auto* values = tensor.view().as<kernels::BFloat16>();
    for (int64_t i = 0; i < tensor.type.shape.elements(); ++i) values[i] = map(values[i]);
  }
  static constexpr size_t kGuard = 256;
  /// What a plan would give; the reference has the processor's.
  struct Scratch {
    size_t cpu = 0, cuda = 0;
    size_t of(Column column) const { return column == Column::kCuda ? cuda : cpu; }
  };

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
  using Kernel = void (*)(const KernelCall&);
  void run(const KernelCall& call, Column column, Kernel reference, Kernel cpu, Kernel cuda) {
    if (column == Column::kCuda) {
      ASSERT_NE(cuda, nullptr);
      run_on_gpu(call, cuda);
    } else {
      (column == Column::kReference ? reference : cpu)(call);
    }
  }

  /// The call over copies in the device's own memory, which the host cannot read; then all of it
  /// comes back.
  void run_on_gpu(KernelCall call, Kernel kernel) {
    kernels::cuda::Driver& driver = gpu_->driver();
    struct Moved {
      TensorView host;
      Buffer device;
    };
    std::vector<Moved> moved;
    std::vector<TensorView> views[4];
    const std::span<const TensorView> given[4] = {call.inputs, call.outputs, call.output_grads,
                                                  call.input_grads};
    for (size_t list = 0; list < 4; ++list) {
      for (const TensorView& view : given[list]) {
        views[list].push_back(view);
        if (!view || view.type.bytes() == 0) continue;
        const auto same = std::find_if(moved.begin(), moved.end(), [&](const Moved& other) {
          return other.host.data == view.data;
        });
        if (same != moved.end()) {
          views[list].back().data = same->device.data();
          continue;
        }
        Moved& copy = moved.emplace_back();
        copy.host = view;
        copy.device = Buffer(view.type.bytes(), &driver, Memory::kDevice);
        driver.copy(copy.device.data(), view.data, view.type.bytes(), Queue::kCompute);
        views[list].back().data = copy.device.data();
      }
    }
    const Buffer scratch(scratch_.size(), &driver, Memory::kDevice);
    driver.copy(scratch.data(), scratch_.data(), scratch_.size(), Queue::kCompute);
    call.inputs = views[0];
    call.outputs = views[1];
    call.output_grads = views[2];
    call.input_grads = views[3];
    call.scratch = scratch.data();
    call.cuda = &gpu_->context();
    kernel(call);
    for (const Moved& copy : moved) {
      driver.copy(copy.host.data, copy.device.data(), copy.host.type.bytes(), Queue::kCompute);
    }
    driver.copy(scratch_.data(), scratch.data(), scratch_.size(), Queue::kCompute);
    driver.synchronize();
  }

  void check_guard() const {
    for (size_t i = scratch_bytes_; i < scratch_.size(); ++i)
      ASSERT_EQ(scratch_.data()[i], std::byte{0xFF}) << "scratch overrun at byte " << i;
  }

  const OpCase& case_;
  const OpEntry& entry_;
  Context context_;
  kernels::cuda::Gpu* gpu_;
  Types output_types_;
  uint32_t present_ = 0;
  Scratch forward_scratch_, backward_scratch_, both_scratch_;
  size_t scratch_bytes_ = 0;
  std::array<bool, kMaxOutputs> flows_{true, true, true};
  Buffer scratch_;
};

inline std::string title(const OpCase& c) {
  return std::string(op_entry(c.op).name) + " (" + c.label + ")";
}

inline void expect_close(const Tensor& got, const Tensor& want, float tolerance,
                         const std::string& what) {
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

inline std::string parameter_name(const ::testing::TestParamInfo<OpCase>& info) {
  std::string name = std::to_string(info.index) + "_" + title(info.param);
  for (char& ch : name) {
    if (std::isalnum(static_cast<unsigned char>(ch)) == 0) ch = '_';
  }
  return name;
}

}  // namespace quern::graph::testing
