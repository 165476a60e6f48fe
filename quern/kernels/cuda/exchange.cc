#include "quern/kernels/cuda/exchange.h"

#include "quern/kernels/cuda/launch.h"

namespace quern::kernels::cuda {

void tree_add(const Context& context, float* own, float* incoming, int64_t stride, int64_t count,
              int rank, int ranks) {
  if (count <= 0) return;
  launch(context, "quern_tree_add",
         {.blocks_x = blocks_for(count, kThreads), .queue = Queue::kExchange},
         arguments::TreeAdd{own, incoming, stride, count, rank, ranks});
}

void unit_squares(const Context& context, const float* x, const int64_t* bounds, int64_t units,
                  double* squares) {
  launch_blocks(context, "quern_unit_squares", units,
                arguments::UnitSquares{x, bounds, units, squares});
}

}  // namespace quern::kernels::cuda
