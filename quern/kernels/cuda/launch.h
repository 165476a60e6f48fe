#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/context.h"

// How the wrappers start kernels: grids depend on extents alone, never on the device.
namespace quern::kernels::cuda {

constexpr uint32_t kThreads = 256;
constexpr int64_t kWarpsInBlock = kThreads / 32;
constexpr int64_t kMostBlocks = 16384;

constexpr int64_t parts_of(int64_t count, int64_t each) { return (count + each - 1) / each; }
constexpr uint32_t blocks_for(int64_t count, int64_t each) {
  return static_cast<uint32_t>(std::clamp<int64_t>(parts_of(count, each), 1, kMostBlocks));
}

/// The name of a kernel of simt.h's QUERN_TYPED_KERNEL for activations of type T.
template <typename T>
constexpr const char* name_of(const char* of_float, const char* of_bfloat16) {
  return std::is_same_v<T, float> ? of_float : of_bfloat16;
}

/// Of a kernel that multiplies, by the types of operands and result.
template <typename In, typename Out>
constexpr const char* product_name(const char* of_float, const char* of_bfloat16,
                                   const char* of_both) {
  return std::is_same_v<In, Out> ? name_of<In>(of_float, of_bfloat16) : of_both;
}
/// Rows of A up to which products take kernels that read each weight once.
constexpr int64_t kFewRows = 8;

// For lists of instances: a macro's argument may not stand before an asterisk.
template <typename T>
using Read = const T*;
template <typename T>
using Written = T*;

template <typename Arguments>
void launch(const Context& context, const char* kernel, const LaunchSize& size,
            const Arguments& arguments) {
  context.driver.launch(kernel, size, &arguments, sizeof(arguments));
}
/// A thread for each of `count`.
template <typename Arguments>
void launch_threads(const Context& context, const char* kernel, int64_t count,
                    const Arguments& arguments) {
  if (count <= 0) return;
  launch(context, kernel, {.blocks_x = blocks_for(count, kThreads)}, arguments);
}
/// A warp for each of `count`.
template <typename Arguments>
void launch_warps(const Context& context, const char* kernel, int64_t count,
                  const Arguments& arguments) {
  if (count <= 0) return;
  launch(context, kernel, {.blocks_x = blocks_for(count, kWarpsInBlock)}, arguments);
}
/// A block for each of `count`.
template <typename Arguments>
void launch_blocks(const Context& context, const char* kernel, int64_t count,
                   const Arguments& arguments) {
  if (count <= 0) return;
  launch(context, kernel, {.blocks_x = blocks_for(count, 1)}, arguments);
}

}  // namespace quern::kernels::cuda
