#include "quern/kernels/cpu/machine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/machine.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "quern/kernels/cpu/microkernel-inl.h"
#include "quern/tensor/buffer.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

constexpr int kChains = 12;  // more than latency times ports, fewer than 16 registers

// Runs `steps` of kChains independent multiply-adds; returns the operations done.
double run_multiply_adds(int64_t steps, float seed, float* out) {
  const F32 d;
  V32 acc[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) acc[i] = hn::Set(d, seed * static_cast<float>(i));
  const V32 factor = hn::Set(d, 0.5F + seed);
  const V32 term = hn::Set(d, 1.0F + seed);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = hn::MulAdd(acc[i], factor, term);
  }
  V32 sum = acc[0];
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) sum = hn::Add(sum, acc[i]);
  *out = hn::GetLane(hn::SumOfLanes(d, sum));
  return 2.0 * kChains * static_cast<double>(kLanes) * static_cast<double>(steps);
}

// Sums a buffer of `count` floats, a multiple of 8 vectors.
void run_read(const float* data, int64_t count, float* out) {
  const F32 d;
  V32 acc[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) acc[i] = hn::Zero(d);
  for (int64_t at = 0; at + 8 * kLanes <= count; at += 8 * kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) acc[i] = hn::Add(acc[i], hn::LoadU(d, data + at + i * kLanes));
  }
  V32 sum = acc[0];
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) sum = hn::Add(sum, acc[i]);
  *out = hn::GetLane(hn::SumOfLanes(d, sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {

HWY_EXPORT(run_multiply_adds);
HWY_EXPORT(run_read);

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

double measure_gflops(const Context& context, bool one_thread, double seconds) {
  const auto pieces = static_cast<size_t>(16 * (one_thread ? 1 : context.pool.threads()));
  std::atomic<float> sink{0};
  constexpr int64_t kSteps = 20'000;  // a few tens of microseconds
  double best = 0;
  const Clock::time_point start = Clock::now();
  do {
    std::atomic<double> operations{0};
    const auto piece = [&](size_t, int) {
      float out = 0;
      const double done = HWY_DYNAMIC_DISPATCH(run_multiply_adds)(
          kSteps, sink.load(std::memory_order_relaxed), &out);
      operations.fetch_add(done);
      sink.store(out * 0.0F, std::memory_order_relaxed);
    };
    const Clock::time_point begin = Clock::now();
    // Several pieces a thread: one that wakes late leaves its share to the others.
    if (one_thread) {
      for (size_t i = 0; i < pieces; ++i) piece(i, 0);
    } else {
      context.pool.parallel_for(pieces, piece);
    }
    best = std::max(best, operations.load() / seconds_since(begin));
  } while (seconds_since(start) < seconds);
  return best / 1e9;
}

double measure_read(const Context& context, bool one_thread, size_t bytes) {
  const Buffer buffer(bytes);
  auto* data = reinterpret_cast<float*>(buffer.data());
  const auto count = static_cast<int64_t>(bytes / sizeof(float));
  // Untouched pages are one shared page of zeros.
  for (int64_t i = 0; i < count; i += 1024) data[i] = 1;
  std::atomic<float> sink{0};
  constexpr int64_t kPiece = int64_t{1} << 20;
  const auto pieces = static_cast<size_t>(std::max<int64_t>(1, count / kPiece));
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Clock::time_point begin = Clock::now();
    const auto read = [&](size_t piece, int) {
      float out = 0;
      const int64_t at = static_cast<int64_t>(piece) * kPiece;
      HWY_DYNAMIC_DISPATCH(run_read)(data + at, std::min(kPiece, count - at), &out);
      sink.store(out, std::memory_order_relaxed);
    };
    if (one_thread) {
      for (size_t piece = 0; piece < pieces; ++piece) read(piece, 0);
    } else {
      context.pool.parallel_for(pieces, read);
    }
    const double bytes_read =
        static_cast<double>(std::min(count, static_cast<int64_t>(pieces) * kPiece)) * 4;
    best = std::max(best, bytes_read / seconds_since(begin));
  }
  return best / 1e9;
}

Machine measure_machine(const Context& context) {
  Machine machine;
  machine.isa = active_isa();
  machine.threads = context.pool.threads();
  machine.gflops_one = measure_gflops(context, true, 0.1);
  machine.gflops_all = measure_gflops(context, false, 0.1);
  machine.read_gb_per_s_one = measure_read(context, true);
  machine.read_gb_per_s_all = measure_read(context, false);
  return machine;
}

}  // namespace quern::kernels::cpu
#endif
