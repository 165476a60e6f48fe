#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/data/text_stream.h"

namespace quern::data {

/// The separator of a table: a tab where the name says .tsv, else whichever of , ; tab | stands
/// most often outside quotes in the first line.
char detect_separator(std::string_view first_block, bool tsv);

/// A field as it is written: in quotes where RFC 4180 asks for it, or where a separator that
/// detect_separator counts stands in it.
std::string csv_field(std::string_view text);

/// Reads delimited records by RFC 4180: fields in double quotes may hold separators, line ends and
/// doubled quotes; records end with LF or CR LF. Streams; only the present record is in memory.
class CsvParser {
 public:
  CsvParser(TextStream& stream, char separator) : stream_(stream), separator_(separator) {}

  /// The next record's fields; false at the end. An empty line is no record. Throws FormatError
  /// naming the file and line: an unclosed quote, text after a closing quote, a record above 1 GiB.
  bool next(std::vector<std::string>& fields);
  /// The line on which the last record begins, from 1.
  uint64_t record_line() const { return record_line_; }

 private:
  /// The character at the front, or -1 at the end.
  int peek();
  [[noreturn]] void fail(std::string_view what, uint64_t line) const;
  void quoted(std::string& field);
  void plain(std::string& field);

  TextStream& stream_;
  char separator_;
  std::string_view block_;
  uint64_t line_ = 1;
  uint64_t record_line_ = 0;
  size_t record_bytes_ = 0;
};

}  // namespace quern::data
