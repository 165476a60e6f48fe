#include "quern/graph/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "quern/base/error.h"
#include "quern/kernels/cuda/gpu.h"

namespace quern::graph {
namespace {
constexpr size_t kAlignedFloats = Buffer::kAlignment / sizeof(float);
}

int32_t ParameterStore::declare(std::string_view name, Shape shape, ParameterGroup group) {
  if (laid_out_) {
    throw Error("store_laid_out", fmt::format("parameter {} is declared after allocate()", name),
                "declare every parameter before the store is allocated");
  }
  if (find(name) >= 0) {
    throw Error("duplicate_parameter", fmt::format("parameter {} is declared twice", name),
                "ask find() for its index to share it");
  }
  parameters_.push_back({std::string(name), shape, group, 0});
  return static_cast<int32_t>(parameters_.size()) - 1;
}

void ParameterStore::use(kernels::cuda::Gpu* gpu) {
  if (gpu == gpu_) return;
  gpu_ = gpu;
  for (Buffer* buffer : {&values_, &gradients_}) {
    if (buffer->size() == 0) continue;
    Buffer moved = make_buffer(buffer->size());
    std::memcpy(moved.data(), buffer->data(), buffer->size());
    *buffer = std::move(moved);
  }
  copies_ = Buffer();
  if (values_.size() != 0) make_copies();
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
  for (const ParameterGroup group :
       {ParameterGroup::kMatrix, ParameterGroup::kEmbedding, ParameterGroup::kVector}) {
    Range& range = groups_[static_cast<size_t>(group)];
    range.begin = offset;
    for (ParameterInfo& info : parameters_) {
      if (info.group != group) continue;
      info.offset = offset;
      const auto floats = static_cast<size_t>(info.shape.elements());
      offset += (floats + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
    }
    range.end = offset;
  }
  laid_out_ = true;
}

void ParameterStore::allocate() {
  lay_out();
  if (values_.size() != 0) return;
  values_ = make_buffer(arena_floats() * sizeof(float));
  make_copies();
}

void ParameterStore::make_copies() {
  if (copy_bytes() != 0) copies_ = Buffer(copy_bytes(), &gpu_->driver(), Memory::kDevice);
}

void ParameterStore::allocate_gradients() {
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
  TensorView view{nullptr, {DType::kF32, info.shape}};
  if (values_.data() != nullptr) view.data = values_.data() + info.offset * sizeof(float);
  return view;
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
  for (const ParameterInfo& info : parameters_) {
    const auto floats = static_cast<size_t>(info.shape.elements());
    total += (floats + kAlignedFloats - 1) / kAlignedFloats * kAlignedFloats;
  }
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
