#include "quern/graph/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "quern/base/error.h"
#include "quern/graph/quantized.h"
#include "quern/kernels/cuda/gpu.h"

namespace quern::graph {
namespace {

/// Floats of a parameter in the arena, padding included.
size_t arena_floats_of(const ParameterInfo& info) {
  constexpr size_t kAlignedFloats = Buffer::kAlignment / sizeof(float);
  if (is_quantized(info.dtype)) return 0;
  const auto floats = static_cast<size_t>(info.shape.elements());
  return (floats + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
}
size_t quantized_bytes_of(const ParameterInfo& info) {
  if (!is_quantized(info.dtype)) return 0;
  return Buffer::align(TensorType{info.dtype, info.shape}.bytes());
}

}  // namespace

void ParameterStore::require_declaring(std::string_view name) const {
  if (!laid_out_) return;
  throw Error("store_laid_out", fmt::format("parameter {} is declared after allocate()", name),
              "declare every parameter before the store is allocated");
}

int32_t ParameterStore::declare(std::string_view name, Shape shape, ParameterGroup group) {
  require_declaring(name);
  if (find(name) >= 0) {
    throw Error("duplicate_parameter", fmt::format("parameter {} is declared twice", name),
                "ask find() for its index to share it");
  }
  parameters_.push_back({std::string(name), shape, group});
  return static_cast<int32_t>(parameters_.size()) - 1;
}

void ParameterStore::quantize(int32_t index, DType dtype) {
  ParameterInfo& info = parameters_.at(static_cast<size_t>(index));
  require_declaring(info.name);
  if (!is_quantized(dtype) || !can_be_quantized(info.shape)) {
    throw ShapeError(fmt::format("parameter {} {} cannot be kept as {}", info.name,
                                 info.shape.to_string(), quern::name(dtype)),
                     "a matrix with a multiple of 32 columns can, as Q8_0 or Q4_0");
  }
  info.dtype = dtype;
}

DType ParameterStore::quantized() const {
  for (const ParameterInfo& info : parameters_) {
    if (is_quantized(info.dtype)) return info.dtype;
  }
  return DType::kF32;
}

void ParameterStore::use(kernels::cuda::Gpu* gpu) {
  if (gpu == gpu_) return;
  gpu_ = gpu;
  for (Buffer* buffer : {&values_, &quantized_, &gradients_}) {
    if (buffer->size() == 0) continue;
    Buffer moved = make_buffer(buffer->size());
    std::memcpy(moved.data(), buffer->data(), buffer->size());
    *buffer = std::move(moved);
  }
  copies_ = Buffer();
  if (allocated_) make_copies();
}

DType ParameterStore::activation_type() const {
  return gpu_ != nullptr && gpu_->context().precision == kernels::cuda::Precision::kBf16
             ? DType::kBF16
             : DType::kF32;
}
bool ParameterStore::rounds_stochastically() const {
  return activation_type() == DType::kBF16 && gpu_->context().stochastic_rounding;
}
size_t ParameterStore::copy_bytes() const {
  return activation_type() == DType::kBF16 ? arena_floats() * size_of(DType::kBF16) : 0;
}

Buffer ParameterStore::make_buffer(size_t bytes) const {
  return gpu_ == nullptr ? Buffer(bytes) : Buffer(bytes, &gpu_->driver(), Memory::kShared);
}

void ParameterStore::lay_out() {
  if (laid_out_) return;
  size_t offset = 0;
  size_t quantized = 0;
  for (const ParameterGroup group :
       {ParameterGroup::kMatrix, ParameterGroup::kEmbedding, ParameterGroup::kVector}) {
    Range& range = groups_[static_cast<size_t>(group)];
    range.begin = offset;
    for (ParameterInfo& info : parameters_) {
      if (info.group != group) continue;
      info.offset = is_quantized(info.dtype) ? quantized : offset;
      offset += arena_floats_of(info);
      quantized += quantized_bytes_of(info);
    }
    range.end = offset;
  }
  laid_out_ = true;
}

void ParameterStore::allocate() {
  lay_out();
  if (allocated_) return;
  values_ = make_buffer(arena_floats() * sizeof(float));
  if (quantized_bytes() != 0) quantized_ = make_buffer(quantized_bytes());
  allocated_ = true;
  make_copies();
}

void ParameterStore::make_copies() {
  if (copy_bytes() != 0) copies_ = Buffer(copy_bytes(), &gpu_->driver(), Memory::kDevice);
}

void ParameterStore::allocate_gradients() {
  if (is_quantized(quantized())) {
    throw Error(
        "quantized",
        fmt::format("weights of {} bits cannot be trained", quantized() == DType::kQ8_0 ? 8 : 4),
        "give the run that was quantised");
  }
  allocate();
  if (gradients_.size() == 0) gradients_ = make_buffer(values_.size());
}

int32_t ParameterStore::find(std::string_view name) const {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].name == name) return static_cast<int32_t>(i);
  }
  return -1;
}

TensorView ParameterStore::value(int32_t index) const {
  const ParameterInfo& info = parameters_.at(static_cast<size_t>(index));
  TensorView view{nullptr, {info.dtype, info.shape}};
  if (is_quantized(info.dtype)) {
    if (quantized_.data() != nullptr) view.data = quantized_.data() + info.offset;
  } else if (values_.data() != nullptr) {
    view.data = values_.data() + info.offset * sizeof(float);
  }
  return view;
}

void ParameterStore::read(int32_t index, int64_t first, std::span<float> to) const {
  const TensorView view = value(index);
  if (!is_quantized(view.type.dtype)) {
    std::copy_n(view.f32() + first, to.size(), to.begin());
    return;
  }
  const kernels::QuantizedMatrix matrix = quantized_matrix(view);
  for (float& element : to) {
    element = matrix.weight(first / matrix.columns, first % matrix.columns);
    ++first;
  }
}

TensorView ParameterStore::gradient(int32_t index) const {
  const ParameterInfo& info = parameters_.at(static_cast<size_t>(index));
  TensorView view{nullptr, {DType::kF32, info.shape}};
  if (gradients_.data() != nullptr) view.data = gradients_.data() + info.offset * sizeof(float);
  return view;
}

TensorView ParameterStore::copy(int32_t index) const {
  const ParameterInfo& info = parameters_.at(static_cast<size_t>(index));
  TensorView view{nullptr, {DType::kBF16, info.shape}};
  if (copies_.data() != nullptr) view.data = copies_.data() + info.offset * size_of(DType::kBF16);
  return view;
}

ParameterStore::Range ParameterStore::group(ParameterGroup group) const {
  return groups_[static_cast<size_t>(group)];
}

std::span<float> ParameterStore::values() const {
  return {reinterpret_cast<float*>(values_.data()), values_.size() / sizeof(float)};
}
std::span<float> ParameterStore::gradients() const {
  return {reinterpret_cast<float*>(gradients_.data()), gradients_.size() / sizeof(float)};
}

int64_t ParameterStore::count() const {
  int64_t total = 0;
  for (const ParameterInfo& info : parameters_) total += info.shape.elements();
  return total;
}

size_t ParameterStore::arena_floats() const {
  size_t total = 0;
  for (const ParameterInfo& info : parameters_) total += arena_floats_of(info);
  return total;
}
size_t ParameterStore::quantized_bytes() const {
  size_t total = 0;
  for (const ParameterInfo& info : parameters_) total += quantized_bytes_of(info);
  return total;
}

TensorView StateStore::get(std::string_view name, const TensorType& type, Device* device) {
  const auto found = states_.find(name);
  if (found != states_.end()) {
    const TensorType& known = found->second.view.type;
    if (known == type) return found->second.view;
    throw ShapeError(
        fmt::format("state {} is {} {}, asked for as {} {}", name, known.shape.to_string(),
                    quern::name(known.dtype), type.shape.to_string(), quern::name(type.dtype)),
        "use one StateStore for one batch size and capacity");
  }
  Entry entry;
  entry.buffer = Buffer(type.bytes(), device, Memory::kShared);
  entry.view = {entry.buffer.data(), type};
  return states_.emplace(std::string(name), std::move(entry)).first->second.view;
}

void StateStore::bind(std::string_view name, TensorView view) {
  const auto found = states_.find(name);
  if (found == states_.end()) {
    states_.emplace(std::string(name), Entry{Buffer(), view});
  } else if (found->second.view.data != view.data || !(found->second.view.type == view.type)) {
    throw Error("duplicate_state", fmt::format("state {} is already another tensor", name),
                "choose another name");
  }
}

void StateStore::clear() {
  for (auto& [name, entry] : states_) {
    if (entry.buffer.size() != 0) std::memset(entry.buffer.data(), 0, entry.buffer.size());
  }
}

size_t StateStore::allocated_bytes() const {
  size_t total = 0;
  for (const auto& [name, entry] : states_) total += entry.buffer.size();
  return total;
}

}  // namespace quern::graph
