#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quern::data {

/// Receives documents one after another, each in one or more pieces of whole characters.
class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  virtual void text(std::string_view piece) = 0;
  virtual void end() = 0;
};

/// What one document is in a plain text file.
enum class DocumentRule : uint8_t {
  kFile,       ///< the whole file
  kBlankLine,  ///< a block of lines between empty lines
  kPercent,    ///< what stands between lines of a single "%" (the fortune programs' files)
  kLine,       ///< a line
};
/// "file", "blank_line" (or "blank-line"), "percent", "line"; throws UsageError naming the text.
DocumentRule parse_document_rule(std::string_view name);
std::string_view name(DocumentRule rule);

struct RuleInference {
  DocumentRule rule;
  std::string reason;
};
/// Chooses a rule from a file's first block. One file is one document unless the text itself marks
/// its records: at least three lines of a single "%", or at least eight blocks between empty lines
/// of which nine in ten begin with a title in brackets (《…》, 【…】, [...]). Empty lines alone
/// decide nothing: they also separate paragraphs and the speeches of a play.
RuleInference infer_document_rule(std::string_view first_block);

/// Cuts a text into documents by a rule. Line ends around a record are dropped; records of white
/// space only are left out. kPercent also drops terminal colour codes (ESC [ … m), which such files
/// carry for display.
class DocumentSplitter {
 public:
  DocumentSplitter(DocumentRule rule, DocumentSink& sink) : rule_(rule), sink_(sink) {}
  void line(std::string_view line);
  void finish();
  uint64_t colour_codes() const { return colour_codes_; }

 private:
  DocumentRule rule_;
  DocumentSink& sink_;
  std::string record_;
  uint64_t colour_codes_ = 0;
};

}  // namespace quern::data
