// How near the matrix products of a training step come to the machine's measured peak, and how
// they compare with oneDNN where that was there to build with. Prints a table; the last column is a
// ratio.
//   gemm_bench [threads]
#if defined(QUERN_BENCH_ONEDNN)
#include <oneapi/dnnl/dnnl.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/tensor/buffer.h"

namespace {

using namespace quern;
using namespace quern::kernels::cpu;

template <typename F>
double best_seconds(const F& f) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < 3 || std::chrono::duration<double>(Clock::now() - start).count() < 0.15;
       ++i) {
    const Clock::time_point begin = Clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

Buffer filled(int64_t count) {
  Buffer buffer(static_cast<size_t>(count) * sizeof(float));
  auto* x = reinterpret_cast<float*>(buffer.data());
  for (int64_t i = 0; i < count; ++i) x[i] = static_cast<float>(i % 13 - 6) * 0.125F;
  return buffer;
}
float* floats(const Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

// oneDNN's single-threaded product on fixed tiles across our pool: 48 rows of C, or a sixteenth.
void compare([[maybe_unused]] const Context& context, [[maybe_unused]] const Gemm& g,
             [[maybe_unused]] double work, [[maybe_unused]] double peak) {
#if defined(QUERN_BENCH_ONEDNN)
  const int64_t tile = std::max<int64_t>(48, (g.m + 15) / 16);
  const auto tiles = static_cast<size_t>((g.m + tile - 1) / tile);
  const double other =
      work / best_seconds([&] {
        context.pool.parallel_for(tiles, [&](size_t index, int) {
          const int64_t i = static_cast<int64_t>(index) * tile;
          dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', std::min(tile, g.m - i),
                     g.n, g.k, 1, g.a + (g.transpose_a ? i : i * g.lda), g.lda, g.b, g.ldb, 0,
                     g.c + i * g.ldc, g.ldc);
        });
      });
  std::printf(" %10.1f %6.2f", other, other / peak);
#endif
}

// One linear layer, (rows, inputs) -> (rows, outputs): forward, dX, dW.
void layer(const Context& context, double peak, const std::string& name, int64_t rows,
           int64_t inputs, int64_t outputs, bool vendor) {
  const Buffer x = filled(rows * inputs), y = filled(rows * outputs), w = filled(inputs * outputs);
  for (const char* pass : {"forward", "dX", "dW"}) {
    Gemm g;
    if (pass[0] == 'f') {
      g.m = rows, g.n = outputs, g.k = inputs;
      g.a = floats(x), g.lda = inputs, g.b = floats(w), g.ldb = inputs, g.transpose_b = true;
      g.c = floats(y);
    } else if (pass[1] == 'X') {
      g.m = rows, g.n = inputs, g.k = outputs;
      g.a = floats(y), g.lda = outputs, g.b = floats(w), g.ldb = inputs, g.c = floats(x);
    } else {
      g.m = outputs, g.n = inputs, g.k = rows;
      g.a = floats(y), g.lda = outputs, g.transpose_a = true, g.b = floats(x), g.ldb = inputs;
      g.c = floats(w);
    }
    g.ldc = g.n;
    const Buffer scratch(gemm_scratch(g));
    const double work =
        2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) / 1e9;
    const double own = work / best_seconds([&] { gemm(context, g, scratch.data()); });
    std::printf("%-12s %-8s %6ld x %6ld x %6ld %8.1f %6.2f", name.c_str(), pass,
                static_cast<long>(g.m), static_cast<long>(g.n), static_cast<long>(g.k), own,
                own / peak);
    if (vendor) compare(context, g, work, peak);
    std::printf("\n");
  }
}

void attend(const Context& context, double peak, int64_t batch, int64_t queries, int64_t heads,
            int64_t head_dim) {
  Attention a;
  a.batch = batch, a.queries = a.capacity = queries, a.heads = a.kv_heads = heads;
  a.head_dim = a.q_head = a.kv_head = head_dim;
  a.q_row = a.kv_row = 3 * heads * head_dim;
  a.q_batch = a.kv_batch = queries * a.q_row;
  a.scale = 0.1F;
  const Buffer qkv = filled(batch * a.q_batch), grad = filled(batch * a.q_batch);
  const int64_t width = heads * head_dim;
  const Buffer out = filled(batch * queries * width), out_grad = filled(batch * queries * width);
  const Buffer lse = filled(batch * heads * queries);
  a.q = floats(qkv), a.k = a.q + width, a.v = a.k + width;
  const Buffer scratch(std::max(attention_forward_scratch(a), attention_backward_scratch(a)));
  // Causal: half of the products.
  const double work = 2.0 * static_cast<double>(batch * heads * queries) *
                      static_cast<double>(queries * head_dim) / 1e9;
  const double forward = best_seconds(
      [&] { attention_forward(context, a, floats(out), floats(lse), scratch.data()); });
  const double backward = best_seconds([&] {
    attention_backward(context, a, floats(out), floats(lse), floats(out_grad), floats(grad),
                       floats(grad) + width, floats(grad) + 2 * width, scratch.data());
  });
  std::printf("attention B%ld T%ld H%ld D%ld: forward %.3f ms %.2f, backward %.3f ms %.2f\n",
              static_cast<long>(batch), static_cast<long>(queries), static_cast<long>(heads),
              static_cast<long>(head_dim), forward * 1e3, work / forward / peak, backward * 1e3,
              2.5 * work / backward / peak);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  ThreadPool pool(arguments.size() > 1 ? std::atoi(arguments[1].c_str()) : 0);
  const Context context(pool);
  const double one = measure_gflops(context, true, 0.2);
  const double peak = measure_gflops(context, false, 0.2);
  std::printf("%s, %d threads: %.1f GFLOP/s, one thread %.1f\n", std::string(active_isa()).c_str(),
              pool.threads(), peak, one);
  std::printf("reading memory: %.1f GB/s, one thread %.1f\n", measure_read(context, false),
              measure_read(context, true));
  std::printf("%-12s %-8s %6s   %6s   %6s %8s %6s %10s %6s\n", "layer", "pass", "m", "n", "k",
              "GFLOP/s", "share", "oneDNN", "share");
  const struct {
    int64_t width, rows, vocabulary;
  } shapes[] = {{128, 768, 65}, {256, 2048, 1024}, {384, 2048, 65}, {768, 512, 50257}};
  for (const auto& s : shapes) {
    const std::string width = std::to_string(s.width);
    layer(context, peak, width + " qkv", s.rows, s.width, 3 * s.width, true);
    layer(context, peak, width + " proj", s.rows, s.width, s.width, true);
    layer(context, peak, width + " up", s.rows, s.width, 4 * s.width, true);
    layer(context, peak, width + " down", s.rows, 4 * s.width, s.width, true);
    layer(context, peak, width + " head", s.rows, s.width, s.vocabulary, s.vocabulary < 10000);
  }
  for (const int64_t rows : {1, 4, 8}) {
    const Buffer x = filled(rows * 768), y = filled(rows * 50257), w = filled(int64_t{768} * 50257);
    Gemm g;
    g.m = rows, g.n = g.ldc = 50257, g.k = g.lda = g.ldb = 768, g.transpose_b = true;
    g.a = floats(x), g.b = floats(w), g.c = floats(y);
    const Buffer scratch(gemm_scratch(g));
    const double seconds = best_seconds([&] { gemm(context, g, scratch.data()); });
    std::printf("%ld rows x 50257 x 768: %.1f GB/s of weights\n", static_cast<long>(rows),
                50257 * 768 * 4 / seconds / 1e9);
  }
  attend(context, peak, 12, 64, 4, 32);
  attend(context, peak, 8, 256, 4, 64);
  attend(context, peak, 8, 256, 6, 64);
  attend(context, peak, 2, 256, 12, 64);
  attend(context, peak, 2, 1024, 12, 64);
  return 0;
}
