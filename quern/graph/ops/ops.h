#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "quern/graph/op.h"
#include "quern/tensor/buffer.h"

// What the op files share. One function an op makes its entry; op_table.cc collects them.
namespace quern::graph::ops {

OpEntry embedding_op();
OpEntry linear_op();
OpEntry norm_op();
OpEntry rope_op();
OpEntry attention_op();
OpEntry cache_write_op();
OpEntry activation_op();
OpEntry gated_unit_op();
OpEntry add_op();
OpEntry multiply_op();
OpEntry scale_op();
OpEntry dropout_op();
OpEntry cross_entropy_op();
OpEntry squared_error_op();
OpEntry grouped_linear_op();
OpEntry member_scale_op();
OpEntry reshape_op();
OpEntry softmax_op();
OpEntry slice_op();
OpEntry concat_op();
OpEntry gather_rows_op();
OpEntry reduce_op();
OpEntry unfold_op();
OpEntry convolve_op();
OpEntry max_pool_op();
OpEntry pool_op();
OpEntry cast_op();
OpEntry gradient_norm_op();
OpEntry adamw_op();
OpEntry muon_op();
OpEntry ema_op();

/// The attributes as the op's own struct; throws Error naming the op where the node carries others.
[[noreturn]] void wrong_attributes(OpCode code);
template <typename T>
const T& attributes(OpCode code, const Attrs& attrs) {
  const T* found = std::get_if<T>(&attrs);
  if (found == nullptr) wrong_attributes(code);
  return *found;
}
template <typename T>
const T& attributes(const KernelCall& call) {
  return *std::get_if<T>(call.attrs);
}

/// Throws ShapeError: "linear: x (8, 64) F32, weight (32, 63) F32: RULE", with what to do.
[[noreturn]] void shape_error(OpCode code, std::span<const TensorType> inputs,
                              std::string_view rule, std::string hint);

/// The checks of one op's inputs; each throws shape_error naming the input by its name.
class Check {
 public:
  Check(OpCode code, std::span<const TensorType> inputs) : code_(code), inputs_(inputs) {}

  bool has(size_t i) const { return present(inputs_, i); }
  const Shape& shape(size_t i) const { return inputs_[i].shape; }
  void dtype(size_t i, DType dtype) const;
  void floats(std::initializer_list<size_t> indices) const {
    for (size_t i : indices) {
      if (has(i)) dtype(i, DType::kF32);
    }
  }
  /// A quantised input is a matrix of whole blocks.
  void quantized(size_t i) const;
  /// Of the inputs that the op says may be BF16: all that are present are of one type.
  void activations() const;
  void rank(size_t i, size_t rank) const;
  void rank_at_least(size_t i, size_t rank) const;
  /// Of a present input: its whole shape, as a function of the others.
  void shape_is(size_t i, const Shape& expected, std::string_view why) const;
  void require(bool holds, std::string_view rule, std::string_view hint) const;

  static bool present(std::span<const TensorType> inputs, size_t i) {
    return i < inputs.size() && !(inputs[i].dtype == DType::kBool && inputs[i].shape.rank() == 0);
  }

 private:
  OpCode code_;
  std::span<const TensorType> inputs_;
};

inline TensorType f32(const Shape& shape) { return {DType::kF32, shape}; }

// Where an op has nothing to say.
inline Saved saves_nothing(const Attrs&, uint32_t) { return {}; }
inline size_t no_scratch(const Attrs&, std::span<const TensorType>) { return 0; }

/// Optional data: null where the input is absent.
template <typename T>
const T* or_null(std::span<const TensorView> views, size_t i) {
  return i < views.size() ? views[i].as<T>() : nullptr;
}
inline const float* f32_or_null(std::span<const TensorView> views, size_t i) {
  return or_null<float>(views, i);
}
template <typename T>
T* or_null_out(std::span<const TensorView> views, size_t i) {
  return i < views.size() ? views[i].as<T>() : nullptr;
}
inline const int32_t* i32_or_null(std::span<const TensorView> views, size_t i) {
  return i < views.size() ? views[i].i32() : nullptr;
}
inline bool absent(std::span<const TensorView> views, size_t i) {
  return i >= views.size() || (views[i].type.dtype == DType::kBool && views[i].shape().rank() == 0);
}
inline bool wants(const KernelCall& call, size_t i) {
  return i < call.input_grads.size() && call.input_grads[i].data != nullptr;
}

}  // namespace quern::graph::ops
