#include "quern/cli/row_input.h"

#include "quern/data/table_reader.h"

namespace quern::cli {

data::Table read_rows(const Invocation& invocation, const std::string& path) {
  if (path == "-") return data::read_csv_text(read_input(invocation, path), "standard input");
  const std::vector<fs::path> paths = {path};
  return data::read_table(paths, table_options(invocation), *invocation.reporter);
}

}  // namespace quern::cli
