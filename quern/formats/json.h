#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace quern::formats {

struct JsonLimits {
  uint64_t bytes = uint64_t{1} << 28;
  /// Objects and arrays inside one another.
  int depth = 64;
};

/// Parses JSON that may come from anywhere (RFC 8259, UTF-8, no comments). Refuses what readers
/// disagree on or what exhausts them: a key twice in one object, nesting or size beyond the limits,
/// anything after the value. Throws FormatError naming `where`, and line, column and byte of a
/// syntax error.
nlohmann::json parse_json(std::string_view text, std::string_view where,
                          const JsonLimits& limits = {});

/// The text of a value and the end of its line, indented by so many spaces (-1: one line). Bytes
/// that are no UTF-8 become U+FFFD.
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);

}  // namespace quern::formats
