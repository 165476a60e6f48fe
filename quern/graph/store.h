#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/tensor/buffer.h"
#include "quern/tensor/tensor.h"

namespace quern::kernels::cuda {
class Gpu;
}

namespace quern::graph {

/// How the optimizer treats a parameter.
enum class ParameterGroup : uint8_t {
  kMatrix,     // weight matrices of layers: decayed; Muon may take them
  kEmbedding,  // tables and the output matrix: decayed as configured
  kVector,     // biases, norms: never decayed
};

struct ParameterInfo {
  std::string name;
  Shape shape;
  ParameterGroup group = ParameterGroup::kMatrix;
  DType dtype = DType::kF32;  // or quantised
  /// Floats into the arena; groups are contiguous, every tensor 64-byte aligned. Of a quantised
  /// one bytes into the arena of those.
  size_t offset = 0;
};

/// All parameters of a model in one arena, and where training, all gradients in another of the same
/// layout. Declared first (names, shapes), laid out and allocated once, then shared by every plan.
/// Quantised ones stand in an arena of their own: they are read by plans, and not trained.
class ParameterStore {
 public:
  /// Returns the index. Throws Error on a second parameter of the same name, or after allocate().
  int32_t declare(std::string_view name, Shape shape, ParameterGroup group);
  /// From now on a parameter is kept as kQ8_0 or kQ4_0, without a value in float32: it has no place
  /// in values(). Throws ShapeError where it is no matrix with a multiple of 32 columns, Error
  /// after lay_out().
  void quantize(int32_t index, DType dtype);
  /// kQ8_0 or kQ4_0 where a parameter is kept so, else kF32.
  DType quantized() const;
  /// Every plan made from now on over these parameters runs on that GPU, which must outlive them.
  /// Values, gradients and states stand in memory that both sides read; the host may touch them
  /// whenever no run is under way. What has memory already is moved: no view of it may be held.
  /// Null: the processor.
  void use(kernels::cuda::Gpu* gpu);
  kernels::cuda::Gpu* gpu() const { return gpu_; }
  /// What models over these parameters keep activations as: BF16 on a GPU of that precision, else
  /// F32. Where BF16, weights are read from a copy of the values in BF16, which executors renew.
  DType activation_type() const;
  /// Whether training rounds that copy up or down by chance, in proportion (see
  /// PlanOptions::stochastic_rounding).
  bool rounds_stochastically() const;
  /// Decides every offset, without memory: nothing can be declared after it.
  void lay_out();
  void allocate();  // lays out first
  /// Throws Error("quantized") where a parameter is quantised.
  void allocate_gradients();

  std::span<const ParameterInfo> parameters() const { return parameters_; }
  int32_t find(std::string_view name) const;  // -1: none
  TensorView value(int32_t index) const;      // of the parameter's dtype
  /// The elements of a parameter from `first` on in float32, however it is kept.
  void read(int32_t index, int64_t first, std::span<float> to) const;
  TensorView gradient(int32_t index) const;
  TensorView copy(int32_t index) const;  // BF16; on the device, where there is such a copy
  std::byte* copies() const { return copies_.data(); }
  /// The run of floats of a group (values or gradients), padding included (padding is and stays
  /// zero), quantised parameters not.
  struct Range {
    size_t begin = 0, end = 0;
  };
  Range group(ParameterGroup group) const;
  std::span<float> values() const;
  std::span<float> gradients() const;

  int64_t count() const;        // parameters, without padding
  size_t arena_floats() const;  // with padding, without quantised parameters
  size_t allocated_bytes() const {
    return values_.size() + quantized_.size() + gradients_.size() + copies_.size();
  }
  /// Of the copy in BF16, 0 where there is none.
  size_t copy_bytes() const;

 private:
  void require_declaring(std::string_view name) const;
  size_t quantized_bytes() const;
  Buffer make_buffer(size_t bytes) const;
  void make_copies();

  std::vector<ParameterInfo> parameters_;
  kernels::cuda::Gpu* gpu_ = nullptr;
  Buffer values_, quantized_, gradients_, copies_;
  Range groups_[3];
  bool laid_out_ = false, allocated_ = false;
};

/// Named tensors with a stable address that plans write in place.
class StateStore {
 public:
  /// The tensor of that name, made (zeroed) when new, in memory that `device` shares where it is
  /// not null; throws ShapeError when known with another type.
  TensorView get(std::string_view name, const TensorType& type, Device* device = nullptr);
  /// Names memory that lives elsewhere (the ranges of a ParameterStore that an optimizer's graph
  /// steps over); it must outlive this store. get() then gives that view; clear() leaves it alone.
  void bind(std::string_view name, TensorView view);
  void clear();  // zero all that is ours
  size_t allocated_bytes() const;
  struct Entry {
    Buffer buffer;  // empty where the tensor lives elsewhere
    TensorView view;
  };
  const std::map<std::string, Entry, std::less<>>& entries() const { return states_; }

 private:
  std::map<std::string, Entry, std::less<>> states_;
};

}  // namespace quern::graph
