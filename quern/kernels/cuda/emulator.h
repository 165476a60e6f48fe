#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "quern/kernels/bfloat16.h"

// Runs kernels written in the words of simt.h on the processor, one block after another. Test code:
// the program itself never includes it.
namespace quern::kernels::cuda {

namespace emulator {

/// The place of the running thread.
struct Place {
  int64_t thread = 0, threads = 0;
  int64_t block_x = 0, block_y = 0, block_z = 0, blocks_x = 0;
  float* shared = nullptr;
};
Place& place();

/// Waits for the whole block.
void wait_for_block();
/// Gives words to the warp and takes those of lane `lane`. All lanes of a warp take part.
struct Words {
  uint32_t word[6];
};
void publish(const Words& words);
Words published(int lane);
/// Until wait_copies() the bytes at `to` are NaN, so that who reads too early, or still reads what
/// is overwritten, is found out.
void copy_async(void* to, const void* from, size_t bytes, bool inside);

struct Kernel {
  const char* name;
  void (*run)(const void* arguments);
  size_t argument_bytes;
  bool cooperative;
};
bool add_kernel(const Kernel& kernel);
/// Throws Error where there is none of that name.
const Kernel& find_kernel(std::string_view name);

struct Grid {
  uint32_t x = 1, y = 1, z = 1, threads = 1;
  size_t shared_bytes = 0;
};
/// Throws Error where threads wait for each other forever.
void run(const Kernel& kernel, const Grid& grid, const void* arguments);

}  // namespace emulator

inline int64_t thread_index() { return emulator::place().thread; }
inline int64_t thread_count() { return emulator::place().threads; }
inline int64_t block_x() { return emulator::place().block_x; }
inline int64_t block_y() { return emulator::place().block_y; }
inline int64_t block_z() { return emulator::place().block_z; }
inline int64_t blocks_x() { return emulator::place().blocks_x; }
inline float* dynamic_shared() { return emulator::place().shared; }
inline void barrier() { emulator::wait_for_block(); }
float shuffle_xor(float value, int lanes);
uint32_t shuffle_xor(uint32_t value, int lanes);

// What these do is said in simt.h, where the device's versions stand.
void mma_m16n8k16(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
void ldmatrix_x4(uint32_t (&words)[4], const BFloat16* row);
void ldmatrix_x4_transposed(uint32_t (&words)[4], const BFloat16* row);
template <int kBytes>
void copy_async(void* shared, const void* global, bool inside) {
  static_assert(kBytes == 4 || kBytes == 16);
  emulator::copy_async(shared, global, kBytes, inside);
}
void wait_copies();
float exp2_fast(float x);
uint32_t pack_bf16(float lower, float upper);
uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t digits);
void load_once(uint32_t (&words)[4], const uint32_t* from);

}  // namespace quern::kernels::cuda

#define QUERN_EMULATED_KERNEL(name, Arguments, cooperative)                                       \
  static void name(const Arguments& a);                                                           \
  [[maybe_unused]] static const bool name##_known = ::quern::kernels::cuda::emulator::add_kernel( \
      {#name, [](const void* a) { name(*static_cast<const Arguments*>(a)); }, sizeof(Arguments),  \
       cooperative});                                                                             \
  static void name(const Arguments& a)
