#pragma once

#include <string>

#include "quern/cli/command.h"
#include "quern/data/table.h"

namespace quern::cli {

/// The rows of an input: a table, or CSV on standard input where `path` is "-".
data::Table read_rows(const Invocation& invocation, const std::string& path);

}  // namespace quern::cli
