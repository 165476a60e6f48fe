#include "quern/kernels/cpu/dispatch.h"

#include <hwy/highway.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "quern/base/error.h"
#include "quern/kernels/cpu/amx.h"

namespace quern::kernels::cpu {
namespace {

struct Isa {
  std::string_view name;
  int64_t target;
  bool tile_unit = false;
};
// Best first.
constexpr std::array kIsas = {Isa{"amx", HWY_AVX3, true}, Isa{"avx512", HWY_AVX3},
                              Isa{"avx2", HWY_AVX2},      Isa{"sse4", HWY_SSE4},
                              Isa{"neon", HWY_NEON},      Isa{"scalar", HWY_EMU128 | HWY_SCALAR}};

bool runs(const Isa& isa, int64_t targets) {
  return (targets & isa.target) != 0 && (!isa.tile_unit || amx::available());
}

std::atomic<bool>& tile_unit() {
  static std::atomic<bool> use = runs(kIsas.front(), hwy::SupportedTargets() & HWY_TARGETS);
  return use;
}

std::string list_available() {
  std::string text;
  for (const std::string_view isa : available_isas()) {
    if (!text.empty()) text += ", ";
    text += isa;
  }
  return text;
}

int64_t supported() {
  hwy::SetSupportedTargetsForTest(0);
  return hwy::SupportedTargets() & HWY_TARGETS;
}

}  // namespace

std::vector<std::string_view> available_isas() {
  static const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<std::string_view> isas;
  for (const Isa& isa : kIsas) {
    if (runs(isa, targets)) isas.push_back(isa.name);
  }
  return isas;
}

bool tile_unit_in_use() { return tile_unit().load(std::memory_order_relaxed); }

std::string_view active_isa() {
  use_isa_of_environment();
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  for (const Isa& isa : kIsas) {
    if (runs(isa, targets) && isa.tile_unit == tile_unit_in_use()) return isa.name;
  }
  return "none";
}

void force_isa(std::string_view name) {
  const std::vector<std::string_view> isas = available_isas();  // before anything is masked
  if (name.empty()) {
    hwy::GetChosenTarget().Update(supported());
    tile_unit() = runs(kIsas.front(), supported());
    return;
  }
  for (const Isa& isa : kIsas) {
    if (isa.name != name) continue;
    const int64_t all = supported();
    if (!runs(isa, all)) {
      throw UsageError("isa_unavailable",
                       "instruction set '" + std::string(name) + "' does not run on this processor",
                       "available: " + list_available());
    }
    // What is worse stays on: it serves functions compiled for fewer targets.
    hwy::SetSupportedTargetsForTest(all & ~(isa.target - 1));
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    tile_unit() = isa.tile_unit;
    return;
  }
  throw UsageError("isa_unknown", "unknown instruction set '" + std::string(name) + "'",
                   "available: " + list_available());
}

void use_isa_of_environment() {
  static const bool done = [] {
    if (available_isas().empty()) {
      throw Error("isa_missing", "this processor lacks the SSE4.2 instructions that Quern needs");
    }
    const char* name = std::getenv("QUERN_ISA");
    if (name != nullptr && *name != '\0') {
      try {
        force_isa(name);
      } catch (const UsageError& error) {
        throw UsageError(error.code(), "QUERN_ISA: " + std::string(error.what()), error.hint());
      }
    }
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace quern::kernels::cpu
