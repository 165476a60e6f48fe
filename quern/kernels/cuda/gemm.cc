#include "quern/kernels/cuda/blas_plans.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"

namespace quern::kernels::cuda {
namespace {

constexpr int64_t kFewRows = 8, kTile = 64;

bool few_rows(const cpu::Gemm& gemm) {
  return gemm.m <= kFewRows && gemm.transpose_b && !gemm.transpose_a;
}

/// By own kernels, epilogue and all.
void own_product(const Context& context, const cpu::Gemm& gemm) {
  if (few_rows(gemm)) {
    launch_warps(context, "quern_few_rows", gemm.n, arguments::Gemm{gemm});
    return;
  }
  LaunchSize size;
  size.blocks_x = static_cast<uint32_t>(parts_of(gemm.n, kTile));
  // Rows past the grid's second dimension: several launches.
  constexpr int64_t kMostRows = 65535 * kTile;
  for (int64_t first = 0; first < gemm.m; first += kMostRows) {
    cpu::Gemm part = gemm;
    part.m = std::min(kMostRows, gemm.m - first);
    part.a += first * (gemm.transpose_a ? 1 : gemm.lda);
    part.c += first * gemm.ldc;
    if (part.pre_activation != nullptr) part.pre_activation += first * gemm.ldc;
    if (part.residual != nullptr) part.residual += first * gemm.ldc;
    size.blocks_y = static_cast<uint32_t>(parts_of(part.m, kTile));
    launch(context, "quern_gemm", size, arguments::Gemm{part});
  }
}

}  // namespace

size_t gemm_scratch(const cpu::Gemm&) { return 0; }

void gemm(const Context& context, const cpu::Gemm& asked, std::byte*) {
  if (asked.m == 0 || asked.n == 0) return;
  cpu::Gemm gemm = asked;
  const bool vendor = context.blas != nullptr && gemm.k > 0 && !few_rows(gemm);
  const BlasOutcome outcome = vendor ? context.blas->run(context, gemm) : BlasOutcome::kRefused;
  if (outcome == BlasOutcome::kRefused) own_product(context, gemm);
  if (outcome == BlasOutcome::kProduct) {
    launch_threads(context, "quern_gemm_epilogue", gemm.m * gemm.n, arguments::GemmEpilogue{gemm});
  }
}

}  // namespace quern::kernels::cuda
