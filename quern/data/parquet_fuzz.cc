#include "quern/data/damaged_fuzz.h"
#include "quern/data/parquet_reader.h"

// Run from the top of the tree. Without Apache Arrow every file is refused.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern::data;
  static const std::string good = quern::read_file("tests/golden/table.parquet");
  fuzz_file(damaged(good, data, size), "a.parquet",
            [](const quern::fs::path& path, TableSink& sink) { read_parquet(path, sink); });
  return 0;
}
