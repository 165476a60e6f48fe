#include "quern/data/sqlite_reader.h"

#include <gmock/gmock.h>
#include <sqlite3.h>

#include "quern/data/table_reader.h"
#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Sqlite : public FolderTest {
 protected:
  fs::path make(const char* sql, const char* name = "t.db") const {
    fs::path path = folder_ / name;
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
    return path;
  }
  static Table read(const fs::path& path, const std::string& table = {}) {
    return read_table(std::vector{path}, {.table = table}, silent_reporter());
  }
  static std::string error(const fs::path& path, const std::string& table = {}) {
    return error_of([&] { read(path, table); });
  }
};

TEST_F(Sqlite, ReadsEveryKindOfValue) {
  const Table table =
      read(make("CREATE TABLE t (a INTEGER, b REAL, c TEXT, d BLOB);"
                "INSERT INTO t VALUES (9007199254740993, 0.1, ' 小麦, \"x\"', x'00ff'), (NULL, 2, "
                "'', 1.5);"));
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_THAT(table.columns(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(table.cell(0, 0), "9007199254740993");
  EXPECT_EQ(table.cell(0, 1), "0.1");
  EXPECT_EQ(table.cell(0, 2), "小麦, \"x\"");
  EXPECT_EQ(table.cell(0, 3), "");
  EXPECT_EQ(table.cell(1, 0), "");
  EXPECT_EQ(table.cell(1, 1), "2");
  EXPECT_EQ(table.cell(1, 3), "1.5");
  EXPECT_THAT(table.where(1), HasSubstr("t.db', row 2"));
}

TEST_F(Sqlite, AsksForATableWhereThereAreMore) {
  const fs::path path = make(
      "CREATE TABLE orders (a); CREATE TABLE \"of \"\"us\"\"\" (b); INSERT INTO orders VALUES (1);"
      "INSERT INTO \"of \"\"us\"\"\" VALUES (2); CREATE VIEW v AS SELECT a + 1 AS c FROM orders;");
  EXPECT_THAT(error(path), HasSubstr("which_table: "));
  EXPECT_THAT(error(path), HasSubstr("orders, v"));
  EXPECT_THAT(error(path, "order"), HasSubstr("did you mean 'orders'"));
  EXPECT_EQ(read(path, "of \"us\"").cell(0, 0), "2");
  EXPECT_EQ(read(path, "v").cell(0, 0), "2");
}

TEST_F(Sqlite, SaysWhatIsNoDatabase) {
  EXPECT_THAT(error(write("a.db", "a,b\n1,2\n")), HasSubstr("is no SQLite database"));
  EXPECT_THAT(error(write("b.db", std::string("SQLite format 3\0xxxxx", 21))),
              HasSubstr("SQLite says"));
  EXPECT_THAT(error(folder_ / "none.db"), HasSubstr("file_missing"));
  EXPECT_THAT(error(make("CREATE TABLE t (a); DROP TABLE t;")), HasSubstr("has no table"));
  EXPECT_THAT(error(make("CREATE TABLE t (a);", "e.sqlite")), HasSubstr("no_rows"));
  EXPECT_THAT(
      error(make("CREATE TABLE t (a); INSERT INTO t VALUES (CAST(x'ff' AS TEXT));", "u.db")),
      HasSubstr("row 1, column a: bytes that are no text"));
  const std::string whole =
      read_file(make("CREATE TABLE t (a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                     "FROM n LIMIT 5000) INSERT INTO t SELECT i FROM n;",
                     "w.db"));
  EXPECT_THAT(error(write("cut.db", whole.substr(0, whole.size() / 8192 * 4096))),
              HasSubstr("SQLite says"));
  EXPECT_THAT(error(write("w.db.gz", gzip(whole))), HasSubstr("gunzip"));
}

TEST_F(Sqlite, SaysThatADatabaseWasCutWithinAPage) {
  const char* fill =
      "CREATE TABLE t (a TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
      "LIMIT 500) INSERT INTO t SELECT 'row ' || i FROM n;";
  for (const char* page : {"512", "4096", "65536"}) {
    const std::string name = std::string(page) + ".db";
    const std::string sql = std::string("PRAGMA page_size = ") + page + ";" + fill;
    const std::string whole = read_file(make(sql.c_str(), name.c_str()));
    EXPECT_EQ(read(folder_ / name).rows(), 500U);
    EXPECT_THAT(error(write("cut.db", whole.substr(0, whole.size() - 200))),
                HasSubstr("it was cut short"))
        << page;
  }
}

}  // namespace
}  // namespace quern::data
