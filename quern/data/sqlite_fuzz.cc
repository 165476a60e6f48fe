#include <sqlite3.h>

#include "quern/data/damaged_fuzz.h"
#include "quern/data/sqlite_reader.h"

namespace {

/// A small database of every kind of value, with an index, a view and values of several pages.
std::string good_database() {
  sqlite3* database = nullptr;
  sqlite3_open(":memory:", &database);
  sqlite3_exec(database,
               "PRAGMA page_size = 512; CREATE TABLE t (a INTEGER PRIMARY KEY, b REAL, c TEXT, d);"
               "CREATE INDEX i ON t (c); CREATE VIEW v AS SELECT a, c FROM t;"
               "INSERT INTO t VALUES (1, .5, 'one', NULL), (2, -3, '小麦', x'00ff'),"
               "(3, 1e300, hex(zeroblob(700)), 'd'), (-9007199254740993, NULL, '', 7);",
               nullptr, nullptr, nullptr);
  sqlite3_int64 size = 0;
  unsigned char* bytes = sqlite3_serialize(database, "main", &size, 0);
  std::string out(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  sqlite3_free(bytes);
  sqlite3_close(database);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern::data;
  static const std::string good = good_database();
  fuzz_file(damaged(good, data, size), "a.db",
            [](const quern::fs::path& path, TableSink& sink) { read_sqlite(path, "t", sink); });
  return 0;
}
