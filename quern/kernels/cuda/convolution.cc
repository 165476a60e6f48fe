#include <algorithm>

#include "quern/kernels/cuda/kernels.h"

// A convolution as products of matrices: the windows of a few pictures at a time stand in the
// scratch, a line each, so that they need a bounded memory whatever the batch.
namespace quern::kernels::cuda {
namespace {

constexpr int64_t kLineBytes = 16 * 1024 * 1024;  // stays in the cache of a large GPU

int64_t line_floats(const cpu::Windows& w) { return w.count() * w.pixels(); }  // of a picture
int64_t pictures_each(const cpu::Windows& w) {
  const int64_t bytes = line_floats(w) * static_cast<int64_t>(sizeof(float));
  return std::clamp<int64_t>(kLineBytes / std::max<int64_t>(bytes, 1), 1,
                             std::max<int64_t>(w.batch, 1));
}
size_t line_bytes(const cpu::Windows& w) {
  constexpr size_t kAlignment = 256;
  const auto bytes = sizeof(float) * static_cast<size_t>(pictures_each(w) * line_floats(w));
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// body(first picture, the windows of the next few).
template <typename Body>
void for_pictures(const cpu::Windows& w, const Body& body) {
  const int64_t each = pictures_each(w);
  for (int64_t first = 0; first < w.batch; first += each) {
    cpu::Windows some = w;
    some.batch = std::min(each, w.batch - first);
    body(first, some);
  }
}

cpu::Gemm forward_product(const cpu::Windows& w, int64_t outputs) {
  cpu::Gemm gemm;  // Y (m,N) = lines (m,K) · Wᵀ
  gemm.m = w.batch * w.count();
  gemm.n = gemm.ldc = outputs;
  gemm.k = gemm.lda = gemm.ldb = w.pixels();
  gemm.transpose_b = true;
  return gemm;
}
cpu::Gemm lines_product(const cpu::Windows& w, int64_t outputs) {
  cpu::Gemm gemm;  // dLines (m,K) = dY (m,N) · W
  gemm.m = w.batch * w.count();
  gemm.n = gemm.ldb = gemm.ldc = w.pixels();
  gemm.k = gemm.lda = outputs;
  return gemm;
}
cpu::Gemm weight_product(const cpu::Windows& w, int64_t outputs) {
  cpu::Gemm gemm;  // dW (N,K) = dYᵀ · lines
  gemm.m = gemm.lda = outputs;
  gemm.n = gemm.ldb = gemm.ldc = w.pixels();
  gemm.k = w.batch * w.count();
  gemm.transpose_a = true;
  return gemm;
}

}  // namespace

size_t convolve_scratch(const cpu::Windows& windows, int64_t outputs) {
  return line_bytes(windows) + cuda::gemm_scratch(forward_product(windows, outputs));
}

void convolve(const Context& context, const cpu::Windows& windows, int64_t outputs, const float* x,
              const float* weight, float* y, std::byte* scratch) {
  auto* lines = reinterpret_cast<float*>(scratch);
  for_pictures(windows, [&](int64_t first, const cpu::Windows& some) {
    unfold(context, some, x + first * some.picture(), lines);
    cpu::Gemm gemm = forward_product(some, outputs);
    gemm.a = lines;
    gemm.b = weight;
    gemm.c = y + first * some.count() * outputs;
    cuda::gemm(context, gemm, scratch + line_bytes(windows));
  });
}

size_t convolve_backward_scratch(const cpu::Windows& windows, int64_t outputs) {
  return line_bytes(windows) + cuda::gemm_scratch(lines_product(windows, outputs));
}

void convolve_backward(const Context& context, const cpu::Windows& windows, int64_t outputs,
                       const float* weight, const float* y_grad, float* x_grad, bool accumulate,
                       std::byte* scratch) {
  auto* lines = reinterpret_cast<float*>(scratch);
  for_pictures(windows, [&](int64_t first, const cpu::Windows& some) {
    cpu::Gemm gemm = lines_product(some, outputs);
    gemm.a = y_grad + first * some.count() * outputs;
    gemm.b = weight;
    gemm.c = lines;
    cuda::gemm(context, gemm, scratch + line_bytes(windows));
    unfold_backward(context, some, lines, x_grad + first * some.picture(), accumulate);
  });
}

size_t convolve_weight_scratch(const cpu::Windows& windows, int64_t outputs) {
  return line_bytes(windows) + cuda::gemm_scratch(weight_product(windows, outputs));
}

void convolve_weight_backward(const Context& context, const cpu::Windows& windows, int64_t outputs,
                              const float* x, const float* y_grad, float* weight_grad,
                              bool accumulate, std::byte* scratch) {
  auto* lines = reinterpret_cast<float*>(scratch);
  for_pictures(windows, [&](int64_t first, const cpu::Windows& some) {
    unfold(context, some, x + first * some.picture(), lines);
    cpu::Gemm gemm = weight_product(some, outputs);
    gemm.a = y_grad + first * some.count() * outputs;
    gemm.b = lines;
    gemm.c = weight_grad;
    gemm.accumulate = accumulate || first > 0;
    cuda::gemm(context, gemm, scratch + line_bytes(windows));
  });
}

}  // namespace quern::kernels::cuda
