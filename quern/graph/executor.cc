#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "quern/graph/ops/attention.h"
#include "quern/graph/plan_impl.h"
#include "quern/graph/replay.h"
#include "quern/graph/run_errors.h"
#include "quern/graph/staging.h"
#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cpu/elementwise.h"
#include "quern/kernels/cpu/movement.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/tensor/buffer.h"

namespace quern::graph {
namespace {

using Kind = Location::Kind;

/// One step with every view and address in it.
struct Step {
  void (*kernel)(const KernelCall&) = nullptr;
  const PlannedStep* planned = nullptr;
  std::vector<TensorView> inputs, outputs, output_grads, input_grads;
  std::array<bool, kMaxInputs> accumulate{};
  struct Transfer {
    TensorView from, to;
  };
  std::vector<Transfer> keeps, adds;
  KernelCall call;
};

}  // namespace

struct Executor::Impl {
  Impl(Plan plan, ParameterStore& parameters, StateStore& states, ThreadPool& pool)
      : plan_(std::move(plan)),
        p_(plan_.impl()),
        parameters_(parameters),
        states_(states),
        context_{pool},
        gpu_(parameters.gpu()),
        device_(gpu_ == nullptr ? nullptr : &gpu_->driver()) {
    if (gpu_ != nullptr) prepare_gpu();
    const PlanBytes bytes = planned_bytes();
    activations_ = Buffer(bytes.activations, device_, Memory::kDevice);
    scratch_ = Buffer(bytes.scratch, device_, Memory::kDevice);
    constants_ = Buffer(bytes.constants, device_, Memory::kDevice);
    bind();
    build();
    fill_constants();
    if (gpu_ == nullptr) return;
    if (p_.options.fixed_parameters) renew_copies();
    if (p_.seed) {
      one_ = Buffer(sizeof(float), device_, Memory::kShared);
      *reinterpret_cast<float*>(one_.data()) = 1;
    }
    for (size_t i = 0; i < p_.graph.values().size(); ++i) {
      const Value value{static_cast<int32_t>(i)};
      if (p_.graph.info(value).kind == ValueKind::kInput)
        staging_->add_input(value, view(p_.values[i], value));
    }
    staging_->allocate();
  }

  PlanBytes planned_bytes() const {
    return plan_.bytes(gpu_ == nullptr ? DeviceKind::kCpu : DeviceKind::kCuda);
  }

  void prepare_gpu() {
    if (p_.options.reference) {
      throw Error("no_reference", "the references run on the processor only",
                  "leave the parameters there");
    }
    gpu_->require_memory(planned_bytes().total(), "the plan");
    const auto set = [](const char* name, const char* value) {
      const char* found = std::getenv(name);
      return found != nullptr && std::string_view(found) == value;
    };
    check_each_ = set("QUERN_CUDA_CHECK", "1");
    const bool watched = p_.options.trace_nan || !p_.options.observe.empty();
    staging_.emplace(*gpu_);
    replay_.emplace(gpu_->driver(), !watched && !check_each_ && !set("QUERN_CUDA_GRAPHS", "0"));
  }

  /// Constants are filled by the host, on a device by way of a copy.
  void fill_constants() {
    for (size_t i = 0; i < p_.graph.values().size(); ++i) {
      const ValueInfo& info = p_.graph.values()[i];
      if (info.kind != ValueKind::kConstant || !info.fill) continue;
      const TensorView place = view(p_.values[i], Value{static_cast<int32_t>(i)});
      if (gpu_ == nullptr) {
        info.fill(place);
        continue;
      }
      const Buffer filled(place.type.bytes());
      info.fill({filled.data(), place.type});
      device_->copy(place.data, filled.data(), filled.size(), Queue::kCompute);
      device_->synchronize();
    }
  }

  /// Finds each parameter by its name, each state by its name, and checks their types.
  void bind() {
    const Graph& graph = p_.graph;
    parameter_index_.assign(graph.values().size(), -1);
    state_data_.assign(graph.values().size(), nullptr);
    std::vector<bool> written(parameters_.parameters().size(), false);
    for (size_t i = 0; i < graph.values().size(); ++i) {
      const ValueInfo& info = graph.values()[i];
      if (info.kind == ValueKind::kState)
        state_data_[i] = states_.get(info.name, info.type, device_).data;
      if (info.kind == ValueKind::kGradient) require_gradients();
      if (info.kind == ValueKind::kGradient && info.parameter < 0) {
        check_shape(info, Shape{static_cast<int64_t>(parameters_.arena_floats())});
      } else if (info.kind == ValueKind::kParameter || info.kind == ValueKind::kGradient) {
        const int32_t index = find_parameter(info);
        parameter_index_[i] = index;
        if (p_.parameter_written[i]) written[static_cast<size_t>(index)] = true;
        reads_copies_ = reads_copies_ || info.type.dtype == DType::kBF16;
      }
    }
    if (!p_.options.backward || !p_.options.parameter_gradients) return;
    require_gradients();
    for (size_t i = 0; i < written.size(); ++i) {
      if (!written[i]) unwritten_.push_back(parameters_.gradient(static_cast<int32_t>(i)));
    }
  }

  void require_gradients() const {
    if (!parameters_.gradients().empty() || parameters_.parameters().empty()) return;
    throw Error("not_allocated", "the parameter store has no gradients",
                "call ParameterStore::allocate_gradients() before training");
  }

  static void check_shape(const ValueInfo& info, const Shape& shape) {
    if (shape == info.type.shape) return;
    throw ShapeError(fmt::format("parameter {} is {} in the store, {} in the graph", info.name,
                                 shape.to_string(), info.type.shape.to_string()),
                     "trace the graph with the configuration that the store was declared with");
  }

  int32_t find_parameter(const ValueInfo& info) const {
    const int32_t index = parameters_.find(info.name);
    if (index < 0) {
      throw Error("missing_parameter",
                  fmt::format("the store has no parameter {}, which the graph reads", info.name),
                  "declare the model's parameters in the store that the executor is given");
    }
    const Shape& shape = parameters_.parameters()[static_cast<size_t>(index)].shape;
    check_shape(info, shape);
    const DType kept = parameters_.parameters()[static_cast<size_t>(index)].dtype;
    if (info.type.dtype != kept && (is_quantized(kept) || is_quantized(info.type.dtype))) {
      throw ShapeError(fmt::format("parameter {} is {} in the store, {} in the graph", info.name,
                                   quern::name(kept), quern::name(info.type.dtype)),
                       "trace the graph for the store that runs it");
    }
    if (info.type.dtype == DType::kBF16 && parameters_.copies() == nullptr) {
      throw Error("no_copy", fmt::format("parameter {} has no copy in BF16", info.name),
                  "trace the graph for the store that runs it, on a GPU with precision = bf16");
    }
    if (parameters_.value(index).data == nullptr && shape.elements() > 0) {
      throw Error("not_allocated", fmt::format("parameter {} has no memory yet", info.name),
                  "call ParameterStore::allocate() first");
    }
    return index;
  }

  TensorView view(Location place, Value value) const {
    TensorView view{nullptr, value ? p_.graph.type(value) : TensorType{DType::kBool, {}}};
    const auto index = static_cast<size_t>(place.index);
    switch (place.kind) {
      case Kind::kNone:
        break;
      case Kind::kSlot:
        view.data = activations_.data() + p_.slots[index].offset;
        break;
      case Kind::kConstant:
        view.data = constants_.data() + p_.constant_offsets[index];
        break;
      case Kind::kParameter:
        view.data = (view.type.dtype == DType::kBF16 ? parameters_.copy(parameter_index_[index])
                                                     : parameters_.value(parameter_index_[index]))
                        .data;
        break;
      case Kind::kParameterGradient:
        // A kGradient of no single parameter is the whole arena.
        view.data = parameter_index_[index] < 0
                        ? reinterpret_cast<std::byte*>(parameters_.gradients().data())
                        : parameters_.gradient(parameter_index_[index]).data;
        view.type.dtype = DType::kF32;  // of a copy in BF16, too
        break;
      case Kind::kState:
        view.data = state_data_[index];
        break;
    }
    return view;
  }

  std::vector<TensorView> views(std::span<const Location> places,
                                std::span<const Value> values) const {
    std::vector<TensorView> result;
    for (size_t i = 0; i < places.size(); ++i) result.push_back(view(places[i], values[i]));
    return result;
  }

  void build() {
    steps_.resize(p_.steps.size());
    for (size_t i = 0; i < steps_.size(); ++i) {
      const PlannedStep& planned = p_.steps[i];
      const Node& node = p_.graph.nodes()[static_cast<size_t>(planned.node)];
      const OpEntry& entry = op_entry(node.op);
      Step& step = steps_[i];
      step.planned = &planned;
      step.inputs = views(planned.inputs, node.inputs);
      step.outputs = views(planned.outputs, node.outputs);
      step.output_grads = views(planned.output_grads, node.outputs);
      step.input_grads = views(planned.input_grads, node.inputs);
      step.accumulate = planned.accumulate;
      const auto transfers = [&](const std::vector<PlannedStep::Transfer>& list) {
        std::vector<Step::Transfer> result;
        for (const auto& t : list) result.push_back({view(t.from, t.value), view(t.to, t.value)});
        return result;
      };
      step.keeps = transfers(planned.keeps);
      step.adds = transfers(planned.adds);
      step.kernel = kernel_of(entry, planned);
      step.call.attrs = &node.attrs;
      step.call.inputs = step.inputs;
      step.call.outputs = step.outputs;
      step.call.output_grads = step.output_grads;
      step.call.input_grads = step.input_grads;
      step.call.accumulate = step.accumulate;
      step.call.scratch = scratch_.data();
      step.call.context = &context_;
      step.call.cuda = gpu_ == nullptr ? nullptr : &gpu_->context();
    }
  }

  using Kernel = void (*)(const KernelCall&);
  Kernel kernel_of(const OpEntry& entry, const PlannedStep& step) const {
    const auto one_of = [&](Kernel forward, Kernel backward, Kernel both) {
      return step.both ? both : step.backward ? backward : forward;
    };
    if (p_.options.reference) {
      return one_of(entry.reference_forward, entry.reference_backward,
                    entry.reference_forward_backward);
    }
    if (gpu_ == nullptr) return one_of(entry.forward, entry.backward, entry.forward_backward);
    const Kernel kernel =
        one_of(entry.cuda.forward, entry.cuda.backward, entry.cuda.forward_backward);
    if (kernel != nullptr) return kernel;
    throw Error("no_kernel",
                fmt::format("{} has no {} kernel for CUDA", entry.name,
                            step.backward ? "backward" : "forward"),
                "use --device cpu");
  }

  std::vector<int32_t> last_gradient_steps() const {
    std::vector<int32_t> last(parameters_.parameters().size(), -1);
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      const PlannedStep& step = p_.steps[i];
      const Node& node = p_.graph.nodes()[static_cast<size_t>(step.node)];
      for (size_t k = 0; k < step.input_grads.size(); ++k) {
        const auto value = static_cast<size_t>(node.inputs[k].id);
        if (step.input_grads[k] && p_.graph.info(node.inputs[k]).kind == ValueKind::kParameter)
          last[static_cast<size_t>(parameter_index_[value])] = static_cast<int32_t>(i);
      }
    }
    return last;
  }

  void start(Replay::Kind kind, FunctionRef<void(int32_t)> after_step) {
    if (gpu_ == nullptr) {
      run_steps(kind.accumulates, after_step);
      return;
    }
    staging_->upload();
    replay_->run(kind, [&] { run_steps(kind.accumulates, after_step); });
    staging_->download();
  }

  void finish() const {
    if (gpu_ == nullptr) return;
    try {
      device_->synchronize();
    } catch (const DeviceError& error) {
      // Seen only now, so that which op it was is not known.
      throw_device_error(p_.graph, error);
    }
    const kernels::cuda::Fault fault = gpu_->take_fault();
    if (fault != kernels::cuda::kNoFault) throw_fault(p_.graph, fault);
  }

  /// Of the parameters that the graph reads in BF16.
  void renew_copies() const {
    if (!reads_copies_) return;
    const uint32_t* random = nullptr;
    if (p_.options.stochastic_rounding) {
      const Value input = p_.graph.input("random");
      random = view(p_.values[static_cast<size_t>(input.id)], input).u32();
    }
    kernels::cuda::narrow(gpu_->context(), parameters_.values().data(),
                          static_cast<int64_t>(parameters_.arena_floats()), random,
                          reinterpret_cast<kernels::BFloat16*>(parameters_.copies()));
  }

  void run_steps(bool accumulate, FunctionRef<void(int32_t)> after_step) {
    if (gpu_ != nullptr && !p_.options.fixed_parameters) renew_copies();
    if (!accumulate) {
      for (const TensorView& gradient : unwritten_) fill_zero(gradient);
    }
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (static_cast<int32_t>(i) == p_.first_backward && p_.seed) seed_gradient();
      run_step(steps_[i], accumulate);
      after_step(static_cast<int32_t>(i));
    }
  }

  void run_step(Step& step, bool accumulate) {
    for (const Step::Transfer& keep : step.keeps) copy(keep.from, keep.to);
    for (uint32_t bits = step.planned->first_parameter_gradients; bits != 0; bits &= bits - 1)
      step.accumulate[static_cast<size_t>(std::countr_zero(bits))] = accumulate;
    if (gpu_ == nullptr) {
      step.kernel(step.call);
    } else {
      run_on_gpu(step);
    }
    for (const Step::Transfer& add : step.adds) add_into(add.from, add.to);
    if (p_.options.trace_nan) check_nan(step);
    for (const size_t observation : step.planned->observations) observe(step, observation);
  }

  void run_on_gpu(const Step& step) const {
    try {
      step.kernel(step.call);
      if (check_each_) device_->synchronize();
    } catch (const DeviceError& error) {
      throw_device_error(p_.graph, *step.planned, error);
    }
  }

  // The few things that a run does besides the ops' kernels, on either side.
  void fill_zero(const TensorView& x) const {
    if (gpu_ == nullptr) {
      kernels::cpu::fill_zero(context_, x.f32(), x.elements());
    } else {
      kernels::cuda::fill_zero(gpu_->context(), x.f32(), x.elements());
    }
  }
  void seed_gradient() const {
    const TensorView seed = view(p_.seed, {});
    if (gpu_ == nullptr) {
      *seed.f32() = 1;
    } else {
      device_->copy(seed.data, one_.data(), sizeof(float), Queue::kCompute);
    }
  }
  void copy(const TensorView& from, const TensorView& to) const {
    if (gpu_ == nullptr) {
      std::memcpy(to.data, from.data, to.type.bytes());
    } else {
      device_->copy(to.data, from.data, to.type.bytes(), Queue::kCompute);
    }
  }
  void add_into(const TensorView& from, const TensorView& to) const {
    if (gpu_ == nullptr) {
      kernels::cpu::scale(context_, from.f32(), from.elements(), 1, to.f32(), true);
    } else {
      const auto add = [&](auto* source, auto* target) {
        kernels::cuda::scale(gpu_->context(), source, from.elements(), 1, target, true);
      };
      if (from.type.dtype == DType::kBF16) {
        add(from.as<kernels::BFloat16>(), to.as<kernels::BFloat16>());
      } else {
        add(from.f32(), to.f32());
      }
    }
  }

  /// A tensor where the host can read it now: itself, or a copy in `copies`; of BF16, in F32.
  TensorView on_host(const TensorView& tensor, std::vector<Buffer>& copies) const {
    if (gpu_ == nullptr || !tensor) return tensor;
    const Buffer& buffer = copies.emplace_back(tensor.type.bytes());
    device_->copy(buffer.data(), tensor.data, tensor.type.bytes(), Queue::kCompute);
    device_->synchronize();
    const TensorView brought{buffer.data(), tensor.type};
    if (tensor.type.dtype != DType::kBF16) return brought;
    const TensorType wide{DType::kF32, tensor.shape()};
    const Buffer& widened = copies.emplace_back(wide.bytes());
    kernels::cpu::cast(context_, brought.data, DType::kBF16, widened.data(), DType::kF32,
                       tensor.elements(), false);
    return {widened.data(), wide};
  }

  void observe(const Step& step, size_t index) const {
    const Observation& observation = p_.options.observe[index];
    if (observation.tap == Tap::kResidual) {
      for (const TapPoint& tap : p_.graph.taps()) {
        if (tap.tap != Tap::kResidual || tap.layer != observation.layer) continue;
        const auto value = static_cast<size_t>(tap.value.id);
        std::vector<Buffer> copies;
        observation.observe(tap.layer, -1, -1, on_host(view(p_.values[value], tap.value), copies));
        return;
      }
    }
    std::vector<Buffer> copies;
    std::vector<TensorView> inputs;
    for (const TensorView& input : step.inputs) inputs.push_back(on_host(input, copies));
    KernelCall call = step.call;
    call.inputs = inputs;
    const kernels::cpu::Attention attention = ops::attention_arguments(call);
    const TensorView log_sum_exp = on_host(step.outputs[1], copies);
    const Shape shape{attention.queries, attention.capacity};
    TensorView weights{scratch_.data(), {DType::kF32, shape}};
    if (gpu_ != nullptr) weights.data = copies.emplace_back(weights.type.bytes()).data();
    const auto one = [&](int64_t batch, int64_t head) {
      kernels::cpu::attention_weights(attention, log_sum_exp.f32(), batch, head, weights.f32());
      observation.observe(observation.layer, batch, head, weights);
    };
    for (int64_t batch = 0; batch < attention.batch; ++batch) {
      if (observation.heads.empty()) {
        for (int64_t head = 0; head < attention.heads; ++head) one(batch, head);
      }
      for (const int head : observation.heads) one(batch, head);
    }
  }

  void check_nan(const Step& step) const {
    const bool backward = step.planned->backward;
    if (!backward || step.planned->both) check_nan(step, step.outputs, false);
    if (backward) check_nan(step, step.input_grads, true);
  }

  void check_nan(const Step& step, std::span<const TensorView> written, bool gradients) const {
    for (size_t i = 0; i < written.size(); ++i) {
      const DType dtype = written[i].type.dtype;
      if (!written[i] || (dtype != DType::kF32 && dtype != DType::kBF16)) continue;
      std::vector<Buffer> copies;
      const TensorView tensor = on_host(written[i], copies);
      for (const float value : tensor.f32_span()) {
        if (std::isnan(value)) throw_nan(p_.graph, *step.planned, i, gradients);
      }
    }
  }

  Plan plan_;
  const Plan::Impl& p_;
  ParameterStore& parameters_;
  StateStore& states_;
  kernels::cpu::Context context_;
  kernels::cuda::Gpu* gpu_;  // null: the processor computes
  Device* device_;           // its driver
  Buffer activations_, scratch_, constants_;
  Buffer one_;                            // the gradient of the loss, on a GPU
  std::optional<Staging> staging_;        // on a GPU
  std::optional<Replay> replay_;          // on a GPU
  bool reads_copies_ = false;             // of parameters, in BF16
  bool check_each_ = false;               // wait after each op, to name the one that fails
  std::vector<int32_t> parameter_index_;  // per value
  std::vector<std::byte*> state_data_;    // per value
  std::vector<TensorView> unwritten_;     // gradients that no step writes: zero
  std::vector<Step> steps_;
};

Executor::Executor(Plan plan, ParameterStore& parameters, StateStore& states, ThreadPool& pool)
    : impl_(std::make_unique<Impl>(std::move(plan), parameters, states, pool)) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;

TensorView Executor::input(std::string_view name) const {
  const Value value = impl_->p_.graph.input(name);
  if (impl_->staging_) return impl_->staging_->input(value);
  return impl_->view(impl_->p_.values[static_cast<size_t>(value.id)], value);
}

TensorView Executor::output(std::string_view name) const {
  const Value value = impl_->p_.graph.output(name);
  const TensorView place = impl_->view(impl_->p_.values[static_cast<size_t>(value.id)], value);
  return impl_->staging_ ? impl_->staging_->output(place) : place;
}

TensorView Executor::gradient(Value value) const {
  const Location place = impl_->p_.gradients.at(static_cast<size_t>(value.id));
  if (!place) {
    throw Error("no_gradient",
                fmt::format("the gradient of {} is not kept", describe(impl_->p_.graph, value)),
                "name the value in PlanOptions::wrt");
  }
  const TensorView gradient = impl_->view(place, value);
  return impl_->staging_ ? impl_->staging_->output(gradient) : gradient;
}

void Executor::run(bool accumulate) {
  start(accumulate);
  finish();
}
void Executor::start(bool accumulate) {
  impl_->start({.accumulates = accumulate}, [](int32_t) {});
}
void Executor::start(bool accumulate, FunctionRef<void(int32_t step)> after_step) {
  impl_->start({.accumulates = accumulate, .followed = true}, after_step);
}
void Executor::finish() { impl_->finish(); }
std::vector<int32_t> Executor::last_gradient_steps() const { return impl_->last_gradient_steps(); }
const Plan& Executor::plan() const { return impl_->plan_; }
size_t Executor::allocated_bytes() const {
  const size_t staging = impl_->staging_ ? impl_->staging_->device_bytes() : 0;
  return impl_->activations_.size() + impl_->scratch_.size() + impl_->constants_.size() +
         impl_->one_.size() + staging;
}

}  // namespace quern::graph
