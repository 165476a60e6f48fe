#pragma once

#include <string>
#include <string_view>

namespace quern {

/// The text with each malformed sequence of UTF-8 replaced by U+FFFD: for formats that hold text
/// alone.
std::string valid_utf8(std::string_view text);

/// A piece of text as people can read it, in quotes: line ends and tabs as escapes; bytes that are
/// part of a character as <E5><BA>.
std::string readable(std::string_view bytes);

}  // namespace quern
