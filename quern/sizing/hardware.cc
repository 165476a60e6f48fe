#include "quern/sizing/hardware.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quern/base/error.h"

namespace quern::sizing {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9;

/// Dense matrix products without sparsity, float32 accumulation.
const std::array<Hardware, 6>& table() {
  static const std::array<Hardware, 6> kTable = {{
      {"v100", 125 * kTera, 32 * kGiga, "fp16", "NVIDIA V100 data sheet (SXM2, 32 GB)"},
      {"a100", 312 * kTera, 80 * kGiga, "bf16", "NVIDIA A100 data sheet (SXM, 80 GB)"},
      {"h100", 989 * kTera, 80 * kGiga, "bf16", "NVIDIA H100 data sheet (SXM), without sparsity"},
      {"h200", 989 * kTera, 141 * kGiga, "bf16", "NVIDIA H200 data sheet (SXM), without sparsity"},
      {"b200", 2250 * kTera, 180 * kGiga, "bf16", "NVIDIA HGX B200 data sheet, without sparsity"},
      {"rtx4090", 165 * kTera, 24 * kGiga, "bf16", "NVIDIA Ada architecture paper, RTX 4090"},
  }};
  return kTable;
}

}  // namespace

std::span<const Hardware> hardware_table() { return table(); }

const Hardware& find_hardware(std::string_view name) {
  const auto found = std::find_if(table().begin(), table().end(),
                                  [&](const Hardware& each) { return each.name == name; });
  if (found != table().end()) return *found;
  std::string known;
  for (const Hardware& each : table()) known += ", " + each.name;
  throw UsageError("bad_value", fmt::format("unknown hardware '{}'", name), "known: this" + known);
}

}  // namespace quern::sizing
