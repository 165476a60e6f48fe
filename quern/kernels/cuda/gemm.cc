#include "quern/kernels/cuda/blas_plans.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"

namespace quern::kernels::cuda {
namespace {

constexpr int64_t kTile = 64;

template <typename In, typename Out>
bool few_rows(const cpu::GemmOf<In, Out>& gemm) {
  return gemm.m <= kFewRows && gemm.transpose_b && !gemm.transpose_a;
}

/// By own kernels, epilogue and all.
template <typename In, typename Out>
void own_product(const Context& context, const cpu::GemmOf<In, Out>& gemm) {
  if (few_rows(gemm)) {
    launch_warps(
        context,
        product_name<In, Out>("quern_few_rows", "quern_few_rows_bf16", "quern_few_rows_bf16_f32"),
        gemm.n, arguments::Gemm<In, Out>{gemm});
    return;
  }
  LaunchSize size;
  size.blocks_x = static_cast<uint32_t>(parts_of(gemm.n, kTile));
  // Rows past the grid's second dimension: several launches.
  constexpr int64_t kMostRows = 65535 * kTile;
  for (int64_t first = 0; first < gemm.m; first += kMostRows) {
    cpu::GemmOf<In, Out> part = gemm;
    part.m = std::min(kMostRows, gemm.m - first);
    part.a += first * (gemm.transpose_a ? 1 : gemm.lda);
    part.c += first * gemm.ldc;
    if (part.pre_activation != nullptr) part.pre_activation += first * gemm.ldc;
    if (part.residual != nullptr) part.residual += first * gemm.ldc;
    size.blocks_y = static_cast<uint32_t>(parts_of(part.m, kTile));
    launch(context, product_name<In, Out>("quern_gemm", "quern_gemm_bf16", "quern_gemm_bf16_f32"),
           size, arguments::Gemm<In, Out>{part});
  }
}

}  // namespace

template <typename In, typename Out>
size_t gemm_scratch(const cpu::GemmOf<In, Out>&) {
  return 0;
}

template <typename In, typename Out>
void gemm(const Context& context, const cpu::GemmOf<In, Out>& asked, std::byte*) {
  if (asked.m == 0 || asked.n == 0) return;
  cpu::GemmOf<In, Out> gemm = asked;
  const bool vendor = context.blas != nullptr && gemm.k > 0 && !few_rows(gemm);
  const BlasOutcome outcome = vendor ? context.blas->run(context, gemm) : BlasOutcome::kRefused;
  if (outcome == BlasOutcome::kRefused) own_product(context, gemm);
  if (outcome == BlasOutcome::kProduct) {
    launch_threads(context,
                   product_name<In, Out>("quern_gemm_epilogue", "quern_gemm_epilogue_bf16",
                                         "quern_gemm_epilogue_bf16_f32"),
                   gemm.m * gemm.n, arguments::Gemm<In, Out>{gemm});
  }
}

template <typename T>
void weight_gradient(const Context& context, const cpu::GemmOf<T, float>& gemm, float* bias_grad,
                     bool accumulate_bias, std::byte* scratch) {
  // The product's own sums can only overwrite.
  const bool together = bias_grad != nullptr && !accumulate_bias && context.blas != nullptr &&
                        gemm.m > 0 && gemm.n > 0 && gemm.k > 0;
  if (together && context.blas->run_with_sums(context, gemm, bias_grad)) return;
  cuda::gemm(context, gemm, scratch);
  if (bias_grad == nullptr) return;
  cuda::column_sum(context, gemm.a, gemm.k, gemm.m, bias_grad, accumulate_bias, scratch);
}
template void weight_gradient(const Context&, const cpu::GemmOf<float>&, float*, bool, std::byte*);
template void weight_gradient(const Context&, const cpu::GemmOf<BFloat16, float>&, float*, bool,
                              std::byte*);

#define QUERN_INSTANTIATE(In, Out)                           \
  template size_t gemm_scratch(const cpu::GemmOf<In, Out>&); \
  template void gemm(const Context&, const cpu::GemmOf<In, Out>&, std::byte*);
QUERN_INSTANTIATE(float, float)
QUERN_INSTANTIATE(BFloat16, BFloat16)
QUERN_INSTANTIATE(BFloat16, float)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::cuda
