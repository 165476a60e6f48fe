#include "quern/data/csv_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quern/base/error.h"

namespace quern::data {
namespace {

constexpr size_t kLongestRecord = size_t{1} << 30;

}  // namespace

char detect_separator(std::string_view first_block, bool tsv) {
  if (tsv) return '\t';
  constexpr std::string_view kCandidates = ",;\t|";
  std::array<size_t, kCandidates.size()> counts{};
  bool quoted = false;
  for (const char c : first_block) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '\n') break;
    if (const size_t i = kCandidates.find(c); i != std::string_view::npos) ++counts[i];
  }
  return kCandidates[static_cast<size_t>(std::max_element(counts.begin(), counts.end()) -
                                         counts.begin())];
}

int CsvParser::peek() {
  if (block_.empty()) block_ = stream_.next();
  return block_.empty() ? -1 : static_cast<uint8_t>(block_.front());
}

void CsvParser::fail(std::string_view what, uint64_t line) const {
  throw FormatError(fmt::format("'{}', line {}: {}", stream_.where(), line, what),
                    "quote fields by RFC 4180: \"a field with \"\"quotes\"\"\"");
}

void CsvParser::quoted(std::string& field) {
  const uint64_t opened = line_;
  block_.remove_prefix(1);
  for (;;) {
    if (peek() < 0) fail("a quoted field is never closed", opened);
    const size_t end = block_.find('"');
    const std::string_view part = block_.substr(0, end);
    line_ += static_cast<uint64_t>(std::count(part.begin(), part.end(), '\n'));
    if ((record_bytes_ += part.size()) > kLongestRecord) fail("the record exceeds 1 GiB", opened);
    field.append(part);
    if (end == std::string_view::npos) {
      block_ = {};
      continue;
    }
    block_.remove_prefix(end + 1);
    if (peek() != '"') break;
    field += '"';
    block_.remove_prefix(1);
  }
  if (peek() == '\r') block_.remove_prefix(1);
  if (const int after = peek(); after >= 0 && after != '\n' && after != separator_) {
    fail("text stands after a closing quote", line_);
  }
}

void CsvParser::plain(std::string& field) {
  const char stops[] = {separator_, '\n'};
  for (;;) {
    if (peek() < 0) break;
    const size_t end = block_.find_first_of(std::string_view(stops, 2));
    const std::string_view part = block_.substr(0, end);
    if ((record_bytes_ += part.size()) > kLongestRecord) fail("the record exceeds 1 GiB", line_);
    field.append(part);
    if (end == std::string_view::npos) {
      block_ = {};
      continue;
    }
    block_.remove_prefix(end);
    break;
  }
  if (peek() != separator_ && field.ends_with('\r')) field.pop_back();
}

bool CsvParser::next(std::vector<std::string>& fields) {
  for (;;) {
    if (peek() == '\r') {
      // An empty line that ends with CR LF; a lone CR is the beginning of a field.
      block_.remove_prefix(1);
      if (peek() != '\n') fail("a carriage return stands alone", line_);
    }
    if (peek() != '\n') break;
    block_.remove_prefix(1);
    ++line_;
  }
  if (peek() < 0) return false;
  record_line_ = line_;
  record_bytes_ = 0;
  for (size_t i = 0;; ++i) {
    if (i == fields.size()) fields.emplace_back();
    fields[i].clear();
    if (peek() == '"') {
      quoted(fields[i]);
    } else {
      plain(fields[i]);
    }
    const int stop = peek();
    if (stop >= 0) block_.remove_prefix(1);
    if (stop == separator_) continue;
    if (stop == '\n') ++line_;
    fields.resize(i + 1);
    return true;
  }
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",;|\t\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace quern::data
