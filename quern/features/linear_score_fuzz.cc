#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/data/table_reader.h"
#include "quern/features/linear_score.h"

// The bytes are the linear.safetensors of a run on one number and one text column. What is loaded
// gives a score for every row and output.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  static const data::Table table = data::read_csv_text("x,t,y\n1,red fox,a\n2,red hen,b\n", "t");
  static const features::ColumnEncoder columns = [] {
    const std::array<size_t, 2> rows = {0, 1};
    return features::ColumnEncoder::fit(
        table, data::infer_types(table, data::parse_type_overrides("t = text")), "y", rows);
  }();
  static const features::EncodedRows rows = [] {
    const std::array<size_t, 2> all = {0, 1};
    return columns.encode(table, all);
  }();
  static const fs::path path = [] {
    std::string name = (std::filesystem::temp_directory_path() / "quern-fuzz-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    return fs::path(name) / "linear.safetensors";
  }();
  try {
    write_file(path, std::string_view(reinterpret_cast<const char*>(data), size));
    const auto score = features::LinearScore::load(path, columns, 2);
    if (score.scores(columns, rows).size() != 4) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
