#include <algorithm>

#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"
#include "quern/kernels/muon_products.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {
namespace {

// Blocks of the sum of squares: enough to read at full speed, few enough to join by one thread.
constexpr int64_t kSquareBlocks = 1024;

uint32_t square_blocks(int64_t count) {
  return static_cast<uint32_t>(std::clamp<int64_t>(parts_of(count, kThreads), 1, kSquareBlocks));
}

}  // namespace

size_t sum_of_squares_scratch(int64_t count) {
  return Buffer::align(square_blocks(count) * sizeof(double));
}

void gradient_norm(const Context& context, const float* x, int64_t count, float* norm,
                   std::byte* scratch) {
  auto* parts = reinterpret_cast<double*>(scratch);
  launch(context, "quern_sum_of_squares", {.blocks_x = square_blocks(count)},
         arguments::SumOfSquares{x, count, parts});
  launch(context, "quern_root", {.threads = 32},
         arguments::Root{parts, square_blocks(count), norm});
}

void adamw(const Context& context, const OptimizerStep& step, float weight_decay, int64_t count,
           const float* gradient, float* parameter, float* m, float* v) {
  launch_threads(context, "quern_adamw", count,
                 arguments::AdamW{step, weight_decay, count, gradient, parameter, m, v});
}

void ema(const Context& context, Scalar decay, int64_t count, const float* parameter,
         float* shadow) {
  launch_threads(context, "quern_ema", count,
                 arguments::Ema{decay.value, count, parameter, shadow});
}

namespace {

struct MuonScratch {
  size_t x = 0, next, gram, square, norm, rest, end;
};
MuonScratch muon_layout(int64_t rows, int64_t columns) {
  const auto floats = [](int64_t count) {
    return Buffer::align(static_cast<size_t>(count) * sizeof(float));
  };
  const int64_t side = std::min(rows, columns);
  MuonScratch at{};
  at.next = at.x + floats(rows * columns);
  at.gram = at.next + floats(rows * columns);
  at.square = at.gram + floats(side * side);
  at.norm = at.square + floats(side * side);
  at.rest = at.norm + floats(1);
  at.end = at.rest + std::max({cuda::gemm_scratch(muon::gram_product(rows, columns)),
                               cuda::gemm_scratch(muon::square_product(side)),
                               cuda::gemm_scratch(muon::apply_product(rows, columns)),
                               sum_of_squares_scratch(rows * columns)});
  return at;
}

}  // namespace

size_t muon_scratch(int64_t rows, int64_t columns) { return muon_layout(rows, columns).end; }

void muon(const Context& context, const OptimizerStep& step, float weight_decay, int64_t rows,
          int64_t columns, const float* gradient, float* parameter, float* momentum,
          std::byte* scratch) {
  const MuonScratch at = muon_layout(rows, columns);
  const auto floats = [&](size_t offset) { return reinterpret_cast<float*>(scratch + offset); };
  float* x = floats(at.x);
  float* next = floats(at.next);
  const int64_t size = rows * columns;
  const int64_t side = std::min(rows, columns);
  launch_threads(context, "quern_muon_momentum", size,
                 arguments::MuonMomentum{step, size, gradient, momentum, x});
  gradient_norm(context, x, size, floats(at.norm), scratch + at.rest);
  launch_threads(context, "quern_muon_normalise", size,
                 arguments::MuonNormalise{floats(at.norm), size, x});
  cpu::Gemm gram = muon::gram_product(rows, columns);
  cpu::Gemm square = muon::square_product(side);
  cpu::Gemm apply = muon::apply_product(rows, columns);
  gram.c = floats(at.gram);
  square.a = square.b = gram.c;
  square.c = floats(at.square);
  for (int i = 0; i < muon::kSteps; ++i) {
    gram.a = gram.b = x;
    gemm(context, gram, scratch + at.rest);
    gemm(context, square, scratch + at.rest);
    launch_threads(context, "quern_muon_polynomial", side * side,
                   arguments::MuonPolynomial{muon::kA, muon::kB, muon::kC, side, gram.c, square.c});
    apply.a = rows > columns ? x : square.c;
    apply.b = rows > columns ? square.c : x;
    apply.c = next;
    gemm(context, apply, scratch + at.rest);
    std::swap(x, next);
  }
  launch_threads(context, "quern_muon_update", size,
                 arguments::MuonUpdate{step, weight_decay, rows, columns, x, parameter});
}

}  // namespace quern::kernels::cuda
