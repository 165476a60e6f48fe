#pragma once

#include <cstddef>
#include <string_view>

namespace quern::features {

/// How a token lies on character boundaries of UTF-8.
struct TokenShape {
  enum Kind {
    kWhole,         ///< whole characters
    kPrefix,        ///< the first bytes of one character
    kContinuation,  ///< one to three continuation bytes
    kNeither,
  };
  Kind kind = kNeither;
  size_t length = 0;   ///< in bytes
  size_t missing = 0;  ///< kPrefix: bytes until the character is complete
};

TokenShape shape_of(std::string_view token);

/// Whether a merge of the two stays inside one character, or joins whole characters: never a half
/// of one with something of another.
bool merges_within_character(const TokenShape& left, const TokenShape& right);
bool merges_whole_characters(const TokenShape& left, const TokenShape& right);

/// Exactly one well-formed character.
bool is_one_character(std::string_view token);

}  // namespace quern::features
