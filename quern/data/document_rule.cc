#include "quern/data/document_rule.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "quern/base/error.h"
#include "quern/base/strings.h"

namespace quern::data {
namespace {

constexpr std::array kRuleNames = {"file", "blank_line", "percent", "line"};
constexpr size_t kLongestRecord = size_t{1} << 30;
constexpr size_t kFewestRecords = 8;
constexpr size_t kFewestSeparators = 3;

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kTitleMarks = {{
    {"《", "》"},
    {"【", "】"},
    {"〖", "〗"},
    {"「", "」"},
    {"〈", "〉"},
    {"[", "]"},
}};

// Lines of the block, the last (possibly cut) one left out unless it is the only one.
template <typename F>
void for_each_line(std::string_view block, F&& f) {
  while (!block.empty()) {
    const size_t end = block.find('\n');
    if (end == std::string_view::npos) return;
    std::string_view line = block.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    f(line);
    block.remove_prefix(end + 1);
  }
}

// The index of the bracket pair that the line begins with, or none.
size_t title_mark(std::string_view line) {
  for (size_t i = 0; i < kTitleMarks.size(); ++i) {
    const auto& [open, close] = kTitleMarks[i];
    if (line.starts_with(open) && line.find(close, open.size()) != std::string_view::npos) return i;
  }
  return kTitleMarks.size();
}

// ESC [ parameters m, at the front of the text; 0 when there is none.
size_t colour_code_length(std::string_view text) {
  if (!text.starts_with("\x1B[")) return 0;
  const size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

}  // namespace

DocumentRule parse_document_rule(std::string_view text) {
  for (size_t i = 0; i < kRuleNames.size(); ++i) {
    if (text == kRuleNames[i]) return static_cast<DocumentRule>(i);
  }
  if (text == "blank-line") return DocumentRule::kBlankLine;
  throw UsageError("bad_value", fmt::format("data.documents cannot be '{}'", text),
                   "one of auto, file, blank_line, percent, line");
}

std::string_view name(DocumentRule rule) { return kRuleNames[static_cast<size_t>(rule)]; }

RuleInference infer_document_rule(std::string_view first_block) {
  size_t separators = 0;
  size_t percent_comments = 0;
  size_t records = 0;
  std::array<size_t, kTitleMarks.size() + 1> marked{};
  bool after_empty = true;
  for_each_line(first_block, [&](std::string_view line) {
    if (line == "%") ++separators;
    if (line.size() > 1 && line.front() == '%') ++percent_comments;
    const bool empty = trim(line).empty();
    if (!empty && after_empty) {
      ++records;
      ++marked[title_mark(line)];
    }
    after_empty = empty;
  });
  // TeX writes comments behind "%", some of them empty.
  if (separators >= kFewestSeparators && percent_comments < separators) {
    return {DocumentRule::kPercent,
            fmt::format("{} lines of its first block are a single '%'", separators)};
  }
  for (size_t i = 0; i < kTitleMarks.size(); ++i) {
    if (records >= kFewestRecords && marked[i] * 10 >= records * 9) {
      return {DocumentRule::kBlankLine,
              fmt::format("{} of its first {} blocks between empty lines begin with a title {}…{}",
                          marked[i], records, kTitleMarks[i].first, kTitleMarks[i].second)};
    }
  }
  return {DocumentRule::kFile, "nothing in its first block marks records"};
}

void DocumentSplitter::line(std::string_view line) {
  const bool separates = rule_ == DocumentRule::kBlankLine
                             ? trim(line).empty()
                             : rule_ == DocumentRule::kPercent && line == "%";
  if (separates) return finish();
  if (record_.size() + line.size() >= kLongestRecord) {
    throw FormatError(fmt::format("a document by the rule '{}' is longer than 1 GiB", name(rule_)),
                      "set data.documents=file if the file is one long text");
  }
  while (rule_ == DocumentRule::kPercent) {
    const size_t escape = line.find("\x1B[");
    if (escape == std::string_view::npos) break;
    const size_t length = colour_code_length(line.substr(escape));
    record_.append(line.substr(0, length > 0 ? escape : escape + 1));
    line.remove_prefix(length > 0 ? escape + length : escape + 1);
    colour_codes_ += length > 0 ? 1 : 0;
  }
  record_.append(line);
  record_ += '\n';
  if (rule_ == DocumentRule::kLine) finish();
}

void DocumentSplitter::finish() {
  const size_t first = record_.find_first_not_of('\n');
  const size_t last = record_.find_last_not_of('\n');
  if (first != std::string::npos && !trim(record_).empty()) {
    sink_.text(std::string_view(record_).substr(first, last - first + 1));
    sink_.end();
  }
  record_.clear();
}

}  // namespace quern::data
