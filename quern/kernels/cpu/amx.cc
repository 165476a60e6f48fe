#include "quern/kernels/cpu/amx.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace quern::kernels::cpu::amx {
namespace {

#define QUERN_AMX __attribute__((target("amx-tile,amx-bf16")))

// Palette 1: every tile 16 rows of 64 bytes (Intel's manual, LDTILECFG).
struct alignas(64) Configuration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  std::array<uint8_t, 14> reserved{};
  std::array<uint16_t, 16> row_bytes{64, 64, 64, 64, 64, 64, 64, 64};
  std::array<uint8_t, 16> rows{16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(Configuration) == 64);

bool processor_has_it() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1U << 22U;
  constexpr unsigned kTile = 1U << 24U;
  return (d & kBf16) != 0 && (d & kTile) != 0;
}

// Linux keeps the tiles' state only for a process that asks for it.
bool system_permits() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

constexpr int kStride = 64;

QUERN_AMX inline void add_products_of_two_rows() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

QUERN_AMX inline void load_a(const std::byte* a, int64_t part) {
  _tile_loadd(4, a + part * 2 * kTileBytes, kStride);
  _tile_loadd(5, a + part * 2 * kTileBytes + kTileBytes, kStride);
}

QUERN_AMX inline void load_b(const std::byte* b, int64_t part) {
  _tile_loadd(6, b + part * 2 * kTileBytes, kStride);
  _tile_loadd(7, b + part * 2 * kTileBytes + kTileBytes, kStride);
}

// The small products first; the order saves loads.
QUERN_AMX void add_steps(const std::byte* a, const std::byte* b, int64_t steps) {
  for (; steps > 0; --steps, a += kStepBytes, b += kStepBytes) {
    load_b(b, 2);
    load_a(a, 0);
    add_products_of_two_rows();
    load_b(b, 1);
    add_products_of_two_rows();
    load_a(a, 1);
    add_products_of_two_rows();
    load_b(b, 0);
    add_products_of_two_rows();
    load_a(a, 2);
    add_products_of_two_rows();
    load_a(a, 0);
    add_products_of_two_rows();
  }
}

// The same for the first 16 rows alone, in the same order, so that their sums are the same bits.
QUERN_AMX void add_steps_of_one_tile(const std::byte* a, const std::byte* b, int64_t steps) {
  constexpr std::array<std::array<int64_t, 2>, 6> kProducts = {
      {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};
  for (; steps > 0; --steps, a += kStepBytes, b += kStepBytes) {
    for (const auto& [of_a, of_b] : kProducts) {
      _tile_loadd(4, a + of_a * 2 * kTileBytes, kStride);
      load_b(b, of_b);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    }
  }
}

// Not on the stack: the compiler's intrinsic names only its first bytes as read.
constexpr Configuration kConfiguration;

QUERN_AMX void load_tile_configuration() { _tile_loadconfig(&kConfiguration); }

QUERN_AMX void release_tiles() { _tile_release(); }

QUERN_AMX void multiply_blocks(const std::byte* a, const std::byte* b, int64_t steps, bool both,
                               const float* from, int64_t ld_from, float* to, int64_t ld) {
  asm volatile("" ::: "memory");  // the intrinsics do not say what they read
  const auto from_stride = static_cast<size_t>(ld_from) * sizeof(float);
  const auto stride = static_cast<size_t>(ld) * sizeof(float);
  if (from != nullptr) {
    _tile_loadd(0, from, from_stride);
    _tile_loadd(1, from + kTile, from_stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
  }
  if (both) {
    if (from != nullptr) {
      _tile_loadd(2, from + kTile * ld_from, from_stride);
      _tile_loadd(3, from + kTile * ld_from + kTile, from_stride);
    } else {
      _tile_zero(2);
      _tile_zero(3);
    }
    add_steps(a, b, steps);
    _tile_stored(2, to + kTile * ld, stride);
    _tile_stored(3, to + kTile * ld + kTile, stride);
  } else {
    add_steps_of_one_tile(a, b, steps);
  }
  _tile_stored(0, to, stride);
  _tile_stored(1, to + kTile, stride);
}

}  // namespace

bool available() {
  static const bool is = processor_has_it() && system_permits();
  return is;
}

Tiles::Tiles() { load_tile_configuration(); }
Tiles::~Tiles() { release_tiles(); }

void multiply(const std::byte* a, const std::byte* b, int64_t steps, int64_t rows,
              const float* from, int64_t ld_from, float* to, int64_t ld) {
  multiply_blocks(a, b, steps, rows > kTile, from, ld_from, to, ld);
}

}  // namespace quern::kernels::cpu::amx

#else

namespace quern::kernels::cpu::amx {

bool available() { return false; }
Tiles::Tiles() = default;
Tiles::~Tiles() = default;
void multiply(const std::byte*, const std::byte*, int64_t, int64_t, const float*, int64_t, float*,
              int64_t) {}

}  // namespace quern::kernels::cpu::amx

#endif
