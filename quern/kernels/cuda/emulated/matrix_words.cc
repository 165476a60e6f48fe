#include <bit>
#include <cmath>
#include <cstring>

#include "quern/base/error.h"
#include "quern/kernels/cuda/emulator.h"

// The words of a warp's tensor cores, by the layouts of lanes in the PTX ISA (mma.m16n8k16,
// ldmatrix), and single instructions.
namespace quern::kernels::cuda {
namespace {

using emulator::Words;

int lane() { return static_cast<int>(thread_index() % 32); }
uint16_t half_of(uint32_t word, int half) { return static_cast<uint16_t>(word >> 16 * half); }
float value_of(uint32_t word, int half) {
  return std::bit_cast<float>(uint32_t{half_of(word, half)} << 16);
}

/// Gives the row that this lane names to the warp.
void publish_row(const BFloat16* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    throw Error("emulator", "a row of ldmatrix is not aligned", "align it to 16 bytes");
  Words words{};
  std::memcpy(words.word, row, 16);
  emulator::publish(words);
}

}  // namespace

void mma_m16n8k16(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::publish({{a[0], a[1], a[2], a[3], b0, b1}});
  const int group = lane() / 4;
  const int within = lane() % 4;
  float rows[2][16];
  float columns[2][16];
  for (int other = 0; other < 4; ++other) {
    const Words row = emulator::published(4 * group + other);
    for (int i = 0; i < 8; ++i) {  // word i / 2: rows g, g + 8, and again 8 columns on
      const int word = i / 2;
      rows[word % 2][2 * other + i % 2 + word / 2 * 8] = value_of(row.word[word], i % 2);
    }
    for (int c = 0; c < 2; ++c) {
      const Words column = emulator::published(4 * (2 * within + c) + other);
      for (int i = 0; i < 4; ++i)
        columns[c][2 * other + i % 2 + i / 2 * 8] = value_of(column.word[4 + i / 2], i % 2);
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) sums[i] += rows[i / 2][k] * columns[i % 2][k];
  }
}

void ldmatrix_x4(uint32_t (&words)[4], const BFloat16* row) {
  publish_row(row);
  for (int matrix = 0; matrix < 4; ++matrix)
    words[matrix] = emulator::published(8 * matrix + lane() / 4).word[lane() % 4];
}

void ldmatrix_x4_transposed(uint32_t (&words)[4], const BFloat16* row) {
  publish_row(row);
  const int column = lane() / 4;
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint32_t pair[2];
    for (int i = 0; i < 2; ++i) {
      const Words other = emulator::published(8 * matrix + 2 * (lane() % 4) + i);
      pair[i] = half_of(other.word[column / 2], column % 2);
    }
    words[matrix] = pair[0] | pair[1] << 16;
  }
}

float exp2_fast(float x) {
  const float power = std::exp2(x);
  return std::fpclassify(power) == FP_SUBNORMAL ? 0 : power;
}

uint32_t pack_bf16(float lower, float upper) {
  return BFloat16(lower).bits | uint32_t{BFloat16(upper).bits} << 16;
}

uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t digits) {
  const uint64_t bytes = uint64_t{high} << 32 | low;
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    const auto byte = static_cast<uint8_t>(bytes >> 8 * (digits >> 4 * i & 7U));
    result |= uint32_t{byte} << 8 * i;
  }
  return result;
}

void load_once(uint32_t (&words)[4], const uint32_t* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0)
    throw Error("emulator", "a load of four words is not aligned", "align it to 16 bytes");
  std::memcpy(words, from, sizeof(words));
}

}  // namespace quern::kernels::cuda
