#pragma once

#include <cmath>
#include <cstdint>

#include "quern/kernels/bfloat16.h"

// The few words that the kernels in this folder (*-inl.h) are written in. The CUDA compiler makes
// device code of them; any other compiler makes functions that emulator.h runs thread by thread, so
// that their arithmetic is tested on a machine without a GPU.

#ifdef __CUDACC__

#define QUERN_DEVICE static __device__ __forceinline__
#define QUERN_MEMBER __device__ __forceinline__  // of a struct
/// Defines kernel `name`, whose one argument is a `const Arguments& a`. It may not use barrier().
#define QUERN_KERNEL(name, Arguments) \
  extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ Arguments a)
/// One whose threads wait for each other: barrier(), shuffle_xor(), block_sum().
#define QUERN_COOPERATIVE_KERNEL(name, Arguments) QUERN_KERNEL(name, Arguments)
/// A cooperative kernel of `threads` threads whose registers are few enough for `blocks` blocks at
/// once.
#define QUERN_BOUNDED_KERNEL(name, Arguments, threads, blocks)  \
  extern "C" __global__ void __launch_bounds__(threads, blocks) \
      name(const __grid_constant__ Arguments a)
#define QUERN_SHARED __shared__
#define QUERN_UNROLL _Pragma("unroll")
/// Before a loop that is to stay one, where its turns side by side would take too many registers.
#define QUERN_ROLLED _Pragma("unroll 1")

namespace quern::kernels::cuda {

QUERN_DEVICE int64_t thread_index() { return threadIdx.x; }
QUERN_DEVICE int64_t thread_count() { return blockDim.x; }
QUERN_DEVICE int64_t block_x() { return blockIdx.x; }
QUERN_DEVICE int64_t block_y() { return blockIdx.y; }
QUERN_DEVICE int64_t block_z() { return blockIdx.z; }
QUERN_DEVICE int64_t blocks_x() { return gridDim.x; }
QUERN_DEVICE void barrier() { __syncthreads(); }
QUERN_DEVICE float shuffle_xor(float value, int lanes) {
  return __shfl_xor_sync(0xFFFFFFFFU, value, lanes);
}
QUERN_DEVICE uint32_t shuffle_xor(uint32_t value, int lanes) {
  return __shfl_xor_sync(0xFFFFFFFFU, value, lanes);
}
/// The memory asked for at the launch.
QUERN_DEVICE float* dynamic_shared() {
  extern __shared__ __align__(16) float quern_dynamic_shared[];
  return quern_dynamic_shared;
}

/// sums (16,8) += a (16,16) · b (16,8) of bfloat16, by a warp. Lane l, with g = l / 4 and t = l %
/// 4, holds two values a word, the lower first: a[0] row g, columns 2t, 2t + 1; a[1] row g + 8;
/// a[2] and a[3] the same 8 columns on; b[0] rows 2t, 2t + 1 of column g; b[1] 8 rows on; sums[0],
/// sums[1] row g, columns 2t, 2t + 1; sums[2], sums[3] row g + 8 (PTX ISA, mma.m16n8k16).
QUERN_DEVICE void mma_m16n8k16(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// Four matrices of 8 x 8 bfloat16 from shared memory: lane l names row l % 8 of matrix l / 8, 16
/// aligned bytes, and is given of each matrix row l / 4, columns 2 (l % 4) and the next (PTX ISA,
/// ldmatrix). Transposed: rows 2 (l % 4) and the next of column l / 4.
QUERN_DEVICE void ldmatrix_x4(uint32_t (&words)[4], const BFloat16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
QUERN_DEVICE void ldmatrix_x4_transposed(uint32_t (&words)[4], const BFloat16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
/// Begins to copy 4 or 16 aligned bytes into shared memory; zeros where not `inside`. They are
/// there for this thread after wait_copies(), for the block after a barrier behind that.
template <int kBytes>
QUERN_DEVICE void copy_async(void* shared, const void* global, bool inside) {
  static_assert(kBytes == 4 || kBytes == 16);
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = inside ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  }
}
/// Waits for all copies that this thread has begun.
QUERN_DEVICE void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
/// 2^x within 2 units of the last place; 0 below the least normal number.
QUERN_DEVICE float exp2_fast(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}
/// Two values rounded to bfloat16 in a word, the lower first.
QUERN_DEVICE uint32_t pack_bf16(float lower, float upper) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(upper), "f"(lower));
  return word;
}
/// Byte i is that which digit i (of four bits, from the lowest) of `digits` names: 0 … 3 of `low`,
/// 4 … 7 of `high`, each from its lowest.
QUERN_DEVICE uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t digits) {
  return __byte_perm(low, high, digits);
}
/// Four aligned words that are read once and that nobody writes: past the first cache, which is
/// left to what is read again.
QUERN_DEVICE void load_once(uint32_t (&words)[4], const uint32_t* from) {
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
      : "l"(from));
}

}  // namespace quern::kernels::cuda

#else

#include "quern/kernels/cuda/emulator.h"

#define QUERN_DEVICE static inline
#define QUERN_MEMBER
#define QUERN_KERNEL(name, Arguments) QUERN_EMULATED_KERNEL(name, Arguments, false)
#define QUERN_COOPERATIVE_KERNEL(name, Arguments) QUERN_EMULATED_KERNEL(name, Arguments, true)
#define QUERN_BOUNDED_KERNEL(name, Arguments, threads, blocks) \
  QUERN_COOPERATIVE_KERNEL(name, Arguments)
// One block runs at a time.
#define QUERN_SHARED static
#define QUERN_UNROLL
#define QUERN_ROLLED

#endif

// NOLINTBEGIN(bugprone-macro-parentheses): a template's name cannot stand in any.
/// The same kernel over float32 and, under its name with _bf16, over bfloat16: `a` is an
/// Arguments<T>.
#define QUERN_TYPED_KERNEL(name, Arguments) QUERN_FOR_TYPES(QUERN_KERNEL, name, Arguments)
#define QUERN_TYPED_COOPERATIVE_KERNEL(name, Arguments) \
  QUERN_FOR_TYPES(QUERN_COOPERATIVE_KERNEL, name, Arguments)
#define QUERN_FOR_TYPES(define, name, Arguments)                       \
  template <typename T>                                                \
  QUERN_DEVICE void name##_of(const Arguments<T>& a);                  \
  define(name, Arguments<float>) { name##_of<float>(a); }              \
  define(name##_bf16, Arguments<BFloat16>) { name##_of<BFloat16>(a); } \
  template <typename T>                                                \
  QUERN_DEVICE void name##_of(const Arguments<T>& a)
// NOLINTEND(bugprone-macro-parentheses)

namespace quern::kernels::cuda {

constexpr int kWarp = 32;

/// This thread among all of the grid's first dimension, and how many there are: kernels stride by
/// that, so that any grid covers any extent.
QUERN_DEVICE int64_t grid_thread() { return block_x() * thread_count() + thread_index(); }
QUERN_DEVICE int64_t grid_threads() { return blocks_x() * thread_count(); }

QUERN_DEVICE float largest(float a, float b) { return a > b ? a : b; }
QUERN_DEVICE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
QUERN_DEVICE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
QUERN_DEVICE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Positions of sequence b that count, of at most `length`; without lengths, all.
QUERN_DEVICE int64_t valid_length(const int32_t* lengths, int64_t b, int64_t length) {
  return lengths == nullptr ? length : larger(0, smaller(lengths[b], length));
}

QUERN_DEVICE float warp_sum(float value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value += shuffle_xor(value, lanes);
  return value;
}
QUERN_DEVICE float warp_max(float value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2)
    value = largest(value, shuffle_xor(value, lanes));
  return value;
}

/// Over the whole block, in a fixed tree, to every thread. `parts` is shared memory for one float a
/// warp; the block is of whole warps.
QUERN_DEVICE float block_sum(float value, float* parts) {
  value = warp_sum(value);
  barrier();
  if (thread_index() % kWarp == 0) parts[thread_index() / kWarp] = value;
  barrier();
  float sum = 0;
  for (int64_t i = 0; i < thread_count() / kWarp; ++i) sum += parts[i];
  return sum;
}
QUERN_DEVICE float block_max(float value, float* parts) {
  value = warp_max(value);
  barrier();
  if (thread_index() % kWarp == 0) parts[thread_index() / kWarp] = value;
  barrier();
  float most = parts[0];
  for (int64_t i = 1; i < thread_count() / kWarp; ++i) most = largest(most, parts[i]);
  return most;
}

template <typename T>
QUERN_DEVICE void store(T* to, float value, bool accumulate) {
  *to = accumulate ? static_cast<float>(*to) + value : value;
}

/// What one load or store of 16 bytes moves.
template <typename T>
struct alignas(16) Packet {
  static constexpr int64_t kCount = 16 / static_cast<int64_t>(sizeof(T));
  T value[kCount];
};
template <typename T>
QUERN_DEVICE Packet<T> load_packet(const T* from) {
  return *reinterpret_cast<const Packet<T>*>(from);
}
/// Whether rows `stride` elements apart are whole packets.
template <typename T>
QUERN_DEVICE bool aligned(const T* x, int64_t stride = 0) {
  return reinterpret_cast<uintptr_t>(x) % 16 == 0 && stride % Packet<T>::kCount == 0;
}

template <typename T>
QUERN_DEVICE void store_packet(T* to, const Packet<T>& packet) {
  *reinterpret_cast<Packet<T>*>(to) = packet;
}

/// y (+)= f(x) for each of `count` elements, over the whole grid, in packets where both are
/// aligned.
template <typename T, typename F>
QUERN_DEVICE void map_elements(int64_t count, const T* x, T* y, bool accumulate, const F& f) {
  constexpr int64_t kCount = Packet<T>::kCount;
  const int64_t packets = aligned(x) && aligned(y) ? count / kCount : 0;
  for (int64_t i = grid_thread(); i < packets; i += grid_threads()) {
    const Packet<T> in = load_packet(x + i * kCount);
    Packet<T> out = accumulate ? load_packet(y + i * kCount) : in;
    for (int64_t k = 0; k < kCount; ++k) store(out.value + k, f(in.value[k]), accumulate);
    store_packet(y + i * kCount, out);
  }
  for (int64_t i = packets * kCount + grid_thread(); i < count; i += grid_threads())
    store(y + i, f(x[i]), accumulate);
}
/// The same of two operands.
template <typename T, typename F>
QUERN_DEVICE void map_elements(int64_t count, const T* a, const T* b, T* y, bool accumulate,
                               const F& f) {
  constexpr int64_t kCount = Packet<T>::kCount;
  const int64_t packets = aligned(a) && aligned(b) && aligned(y) ? count / kCount : 0;
  for (int64_t i = grid_thread(); i < packets; i += grid_threads()) {
    const Packet<T> first = load_packet(a + i * kCount);
    const Packet<T> second = load_packet(b + i * kCount);
    Packet<T> out = accumulate ? load_packet(y + i * kCount) : first;
    for (int64_t k = 0; k < kCount; ++k)
      store(out.value + k, f(first.value[k], second.value[k]), accumulate);
    store_packet(y + i * kCount, out);
  }
  for (int64_t i = packets * kCount + grid_thread(); i < count; i += grid_threads())
    store(y + i, f(a[i], b[i]), accumulate);
}

/// Ten rounds of Philox4x32 (see base/random.h).
QUERN_DEVICE void philox(uint32_t (&counter)[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57U} * counter[2];
    counter[0] = static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0;
    counter[1] = static_cast<uint32_t>(b);
    counter[2] = static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1;
    counter[3] = static_cast<uint32_t>(a);
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

}  // namespace quern::kernels::cuda
