#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`, in bytes
/// (restricted Damerau-Levenshtein distance).
size_t edit_distance(std::string_view a, std::string_view b);
/// The candidate nearest to `name`, when near enough to be a slip of the hand.
std::optional<std::string> nearest(std::string_view name, std::span<const std::string> candidates);
/// "10m", "90s", "1.5h", "2h30m" in seconds; a unit (s, m, h, d) is required, larger units come
/// first. Throws UsageError naming the text.
double parse_duration(std::string_view text);
/// "16GB", "512MiB", "1024" in bytes (k, M, G, T decimal; Ki, Mi, Gi, Ti binary; B optional; case
/// ignored). Throws UsageError naming the text.
uint64_t parse_bytes(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);
/// Split, but not within double quotes; a backslash there takes the next byte as it is. The parts
/// keep their quotes.
std::vector<std::string> split_outside_quotes(std::string_view text, char separator);
/// Without the quotes around it, escapes resolved; other text as it is, trimmed.
std::string unquote(std::string_view text);
std::string_view trim(std::string_view text);
/// As a word of a POSIX shell: quoted where it holds anything but letters, digits and ./_-+=:,@%.
std::string shell_word(std::string_view text);
/// Bytes in base64 with padding (RFC 4648, section 4).
std::string base64(std::string_view bytes);
/// A to Z made small; every other byte as it is.
std::string lower_ascii(std::string_view text);

}  // namespace quern
