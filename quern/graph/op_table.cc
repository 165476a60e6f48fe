#include <array>

#include "quern/graph/op.h"
#include "quern/graph/ops/ops.h"

namespace quern::graph {
namespace {

std::array<OpEntry, static_cast<size_t>(OpCode::kCount)> make_table() {
  std::array<OpEntry, static_cast<size_t>(OpCode::kCount)> table;
  for (OpEntry entry : {ops::embedding_op(),
                        ops::linear_op(),
                        ops::norm_op(),
                        ops::rope_op(),
                        ops::attention_op(),
                        ops::cache_write_op(),
                        ops::activation_op(),
                        ops::gated_unit_op(),
                        ops::add_op(),
                        ops::multiply_op(),
                        ops::scale_op(),
                        ops::dropout_op(),
                        ops::cross_entropy_op(),
                        ops::squared_error_op(),
                        ops::grouped_linear_op(),
                        ops::member_scale_op(),
                        ops::reshape_op(),
                        ops::softmax_op(),
                        ops::slice_op(),
                        ops::concat_op(),
                        ops::gather_rows_op(),
                        ops::reduce_op(),
                        ops::unfold_op(),
                        ops::convolve_op(),
                        ops::max_pool_op(),
                        ops::pool_op(),
                        ops::cast_op(),
                        ops::gradient_norm_op(),
                        ops::adamw_op(),
                        ops::muon_op(),
                        ops::ema_op()}) {
    table[static_cast<size_t>(entry.code)] = entry;
  }
  return table;
}

}  // namespace

std::span<const OpEntry> op_table() {
  static const auto table = make_table();
  return table;
}

const OpEntry& op_entry(OpCode code) { return op_table()[static_cast<size_t>(code)]; }

}  // namespace quern::graph
