#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"
#include "quern/kernels/gemm_part.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {
namespace {

constexpr int64_t kPartBytes = int64_t{64} << 20;  // of weights made for a product of many rows
constexpr int64_t kPartRows = 64;                  // of which a part is a multiple
constexpr int64_t kStagedBytes = int64_t{48} << 10;

/// As many blocks as a large GPU runs at once, by their registers: each then goes on to further
/// rows of the weight, whose loads are under way before it has finished the last.
constexpr int64_t most_blocks(int64_t m) {
  constexpr int64_t kMultiprocessors = 128;
  return (m == 1 ? 3 : 2) * kMultiprocessors;
}

template <typename In, typename Out>
void multiply_few_rows(const Context& context, const cpu::GemmOf<In, Out>& gemm,
                       const QuantizedMatrix& weight) {
  using Arguments = arguments::QuantizedGemm<In, Out>;
  const int64_t load_weights = 8 * Arguments::kLoadBytes / weight.bits;
  const int64_t loads = gemm.k / load_weights;
  const int64_t load_bytes = gemm.m * load_weights * static_cast<int64_t>(sizeof(float));  // of A
  // As many warps as have something to load, and for whose first turn A has room.
  int64_t split = kWarpsInBlock;
  while (split > 1 && (split * 16 >= loads || split * 32 * load_bytes > kStagedBytes)) split /= 2;
  const int64_t turn = split * 32;
  const int64_t turns = std::clamp<int64_t>(
      parts_of(loads, turn), 1, std::max<int64_t>(1, kStagedBytes / (turn * load_bytes)));
  const int64_t block_columns = kWarpsInBlock / split * Arguments::kRowsEach;
  LaunchSize size;
  size.blocks_x =
      static_cast<uint32_t>(std::min(parts_of(gemm.n, block_columns), most_blocks(gemm.m)));
  size.shared_bytes = static_cast<size_t>(turns * turn * load_bytes);
  launch(context,
         gemm.m == 1 ? product_name<In, Out>("quern_quantized_row", "quern_quantized_row_bf16",
                                             "quern_quantized_row_bf16_f32")
                     : product_name<In, Out>("quern_quantized_rows", "quern_quantized_rows_bf16",
                                             "quern_quantized_rows_bf16_f32"),
         size,
         Arguments{gemm, weight, static_cast<int32_t>(split), static_cast<int32_t>(turns * turn)});
}

/// Rows of a weight, which are columns of C, that are made at a time.
int64_t part_rows(int64_t k, int64_t element_bytes) {
  const int64_t rows = kPartBytes / std::max<int64_t>(k * element_bytes, 1);
  return std::max(rows / kPartRows, int64_t{1}) * kPartRows;
}

/// For rows of any type.
size_t rows_bytes(int64_t n, int64_t k) {
  const int64_t row_bytes = k * static_cast<int64_t>(sizeof(float));
  return Buffer::align(
      static_cast<size_t>(std::min(n * row_bytes, std::max(kPartBytes, kPartRows * row_bytes))));
}

}  // namespace

size_t quantized_gemm_scratch(const cpu::GemmOf<float>& shape) {
  if (shape.m <= kFewRows) return 0;
  return rows_bytes(shape.n, shape.k) + cuda::gemm_scratch(shape);
}

template <typename In, typename Out>
void quantized_gemm(const Context& context, const cpu::GemmOf<In, Out>& gemm,
                    const QuantizedMatrix& weight, std::byte* scratch) {
  if (gemm.m == 0 || gemm.n == 0) return;
  if (gemm.m <= kFewRows) return multiply_few_rows(context, gemm, weight);
  const int64_t each = part_rows(gemm.k, sizeof(In));
  auto* rows = reinterpret_cast<In*>(scratch);
  for (int64_t first = 0; first < gemm.n; first += each) {
    const auto part = column_part<In, Out>(gemm, first, std::min(each, gemm.n - first), rows);
    cuda::dequantize(context, weight, first, part.n, rows);
    cuda::gemm(context, part, scratch + rows_bytes(gemm.n, gemm.k));
  }
}

template <typename T>
void dequantize(const Context& context, const QuantizedMatrix& weight, int64_t first_row,
                int64_t rows, T* out) {
  constexpr auto kPacket = static_cast<int64_t>(16 / sizeof(T));
  launch_threads(context, name_of<T>("quern_dequantize", "quern_dequantize_bf16"),
                 rows * weight.columns / kPacket,
                 arguments::Dequantize<T>{weight, first_row, rows, out});
}

#define QUERN_INSTANTIATE(In, Out)                                          \
  template void quantized_gemm(const Context&, const cpu::GemmOf<In, Out>&, \
                               const QuantizedMatrix&, std::byte*);
QUERN_INSTANTIATE(float, float)
QUERN_INSTANTIATE(BFloat16, BFloat16)
QUERN_INSTANTIATE(BFloat16, float)
#undef QUERN_INSTANTIATE
template void dequantize(const Context&, const QuantizedMatrix&, int64_t, int64_t, float*);
template void dequantize(const Context&, const QuantizedMatrix&, int64_t, int64_t, BFloat16*);

}  // namespace quern::kernels::cuda
