#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/base/text_encoding.h"
#include "quern/data/table_sink.h"

namespace quern::data {

/// A good file with bytes replaced, so that the fuzzer gets beyond its checksums and headers:
/// triples of a place (little-endian) and what stands there, after one byte that says how much of
/// the end is missing. An odd first byte: the fuzzer's bytes alone.
inline std::string damaged(std::string good, const uint8_t* data, size_t size) {
  if (size == 0) return good;
  if ((data[0] & 1U) != 0) return {reinterpret_cast<const char*>(data + 1), size - 1};
  for (size_t at = 1; at + 3 <= size; at += 3) {
    const size_t place = static_cast<size_t>(data[at]) | static_cast<size_t>(data[at + 1]) << 8;
    good[place % good.size()] = static_cast<char>(data[at + 2]);
  }
  good.resize(good.size() - good.size() * data[0] / 256);
  return good;
}

/// Writes the bytes into a file and calls read(path, sink): nothing but quern::Error may come out,
/// and every cell is UTF-8.
template <typename Read>
void fuzz_file(const std::string& bytes, const char* name, Read read) {
  static const std::string folder = [] {
    std::string pattern = (fs::temp_directory_path() / "quern-fuzz-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    return pattern;
  }();
  const fs::path path = fs::path(folder) / name;
  std::ofstream(path, std::ios::binary) << bytes;
  try {
    TableSink sink(size_t{1} << 20, silent_reporter());
    read(path, sink);
    sink.end_file();
    const Table table = sink.finish("");
    for (size_t row = 0; row < table.rows(); ++row) {
      for (size_t column = 0; column < table.columns().size(); ++column)
        if (find_invalid_utf8(table.cell(row, column))) std::abort();
    }
  } catch (const Error&) {
  }
}

}  // namespace quern::data
