#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/base/text_encoding.h"
#include "quern/data/column_types.h"
#include "quern/data/table_reader.h"

// The first byte chooses the layout by the file's name; the rest is the file, compressed or not.
// Whatever is read has as many cells a row as columns, valid UTF-8, and types.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  if (size < 2) return 0;
  constexpr std::array<const char*, 6> kNames = {"a.csv",  "a.tsv",    "a.jsonl",
                                                 "a.arff", "a.csv.gz", "a.db"};
  static const std::string folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "quern-fuzz-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    return name;
  }();
  const fs::path path = fs::path(folder) / kNames[data[0] % kNames.size()];
  try {
    write_file(path, std::string_view(reinterpret_cast<const char*>(data + 1), size - 1));
    const std::array<fs::path, 1> paths = {path};
    const data::Table table = data::read_table(paths, {}, silent_reporter());
    for (size_t row = 0; row < table.rows(); ++row) {
      for (size_t column = 0; column < table.columns().size(); ++column)
        if (find_invalid_utf8(table.cell(row, column))) std::abort();
    }
    if (data::infer_types(table, {}).size() != table.columns().size()) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
