#pragma once

#include <cstddef>
#include <cstdint>

// Intel's tile unit multiplies bfloat16 numbers only. A float32 x is the exact sum of three of
// them, x = x₀ + x₁ + x₂ (8 bits of the significand each), and of the nine products of x and y the
// six with i + j ≤ 2 keep float32's precision: the others are below 2⁻²⁴ of xy (the scheme of
// Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
// Higher-Precision Computations", ARITH 2019). Sums are kept in float32 by the unit itself.
namespace quern::kernels::cpu::amx {

/// A block of C is kBlock x kBlock, four tiles of the unit; a step goes over kStep of k.
inline constexpr int64_t kTile = 16;
inline constexpr int64_t kBlock = 2 * kTile;
inline constexpr int64_t kStep = 32;
inline constexpr int64_t kParts = 3;
inline constexpr int64_t kTileBytes = 1024;
/// What one step of a panel (kBlock rows of A, or columns of B) takes packed: for each part, two
/// tiles.
inline constexpr int64_t kStepBytes = kParts * 2 * kTileBytes;

/// This build and this processor have the unit and the system lets this process use it (asked for
/// once).
bool available();

/// While one stands, its thread may multiply.
class Tiles {
 public:
  Tiles();
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

/// to (rows, 32) = from (or 0) + A·B over `steps` steps; rows is 16 or 32. Packed A holds of each
/// step and part 32 rows of 32 bfloat16; packed B for each half of its 32 columns 16 rows of
/// (two of k, 16 columns) in pairs. Packed data stand at multiples of 64 bytes.
void multiply(const std::byte* a, const std::byte* b, int64_t steps, int64_t rows,
              const float* from, int64_t ld_from, float* to, int64_t ld);

}  // namespace quern::kernels::cpu::amx
