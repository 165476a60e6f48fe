#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace quern::sizing {

/// What one accelerator, or this machine, can do.
struct Hardware {
  std::string name;
  double flops = 0;   // a second, dense, in the precision named
  double memory = 0;  // bytes
  std::string precision;
  std::string source;  // where the figures come from
};

/// Accelerators by their makers' data sheets.
std::span<const Hardware> hardware_table();
/// Throws UsageError naming the known ones.
const Hardware& find_hardware(std::string_view name);

}  // namespace quern::sizing
