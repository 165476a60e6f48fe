#include "quern/graph/ops/ops.h"

#include <fmt/format.h>

#include "quern/graph/quantized.h"

namespace quern::graph::ops {

void wrong_attributes(OpCode code) {
  throw Error("wrong_attributes",
              fmt::format("{}: the node carries another op's attributes", op_entry(code).name),
              "build nodes with the functions of quern/graph/graph.h");
}

void shape_error(OpCode code, std::span<const TensorType> inputs, std::string_view rule,
                 std::string hint) {
  const OpEntry& entry = op_entry(code);
  std::string shapes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!Check::present(inputs, i)) continue;
    if (!shapes.empty()) shapes += ", ";
    shapes += fmt::format("{} {} {}", i < kMaxInputs ? entry.input_names[i] : "?",
                          inputs[i].shape.to_string(), quern::name(inputs[i].dtype));
  }
  throw ShapeError(fmt::format("{}: {}: {}", entry.name, shapes, rule), std::move(hint));
}

void Check::dtype(size_t i, DType dtype) const {
  if (inputs_[i].dtype == dtype) return;
  shape_error(code_, inputs_,
              fmt::format("{} must be {}", op_entry(code_).input_names[i], quern::name(dtype)),
              fmt::format("cast it to {} first", quern::name(dtype)));
}

void Check::activations() const {
  DType first = DType::kBool;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!has(i) || (op_entry(code_).activations >> i & 1U) == 0) continue;
    if (first == DType::kBool)
      first = inputs_[i].dtype == DType::kBF16 ? DType::kBF16 : DType::kF32;
    dtype(i, first);
  }
}

void Check::quantized(size_t i) const {
  if (can_be_quantized(shape(i))) return;
  shape_error(
      code_, inputs_,
      fmt::format("{} must have rows of whole blocks of 32", op_entry(code_).input_names[i]),
      "keep it in F32");
}

void Check::rank(size_t i, size_t rank) const {
  if (shape(i).rank() == rank) return;
  shape_error(code_, inputs_,
              fmt::format("{} must have {} extents", op_entry(code_).input_names[i], rank),
              "reshape it where it is declared");
}

void Check::rank_at_least(size_t i, size_t rank) const {
  if (shape(i).rank() >= rank) return;
  shape_error(code_, inputs_,
              fmt::format("{} must have {} extents or more", op_entry(code_).input_names[i], rank),
              "reshape it where it is declared");
}

void Check::shape_is(size_t i, const Shape& expected, std::string_view why) const {
  if (!has(i) || shape(i) == expected) return;
  const std::string_view name = op_entry(code_).input_names[i];
  shape_error(code_, inputs_, fmt::format("{} must be {}: {}", name, expected.to_string(), why),
              fmt::format("declare {} with that shape, or change the input it follows", name));
}

void Check::require(bool holds, std::string_view rule, std::string_view hint) const {
  if (!holds) shape_error(code_, inputs_, rule, std::string(hint));
}

}  // namespace quern::graph::ops
