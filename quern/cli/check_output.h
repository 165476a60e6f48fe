#pragma once

#include <string>

#include "quern/data/check/data_check.h"

namespace quern::cli {

/// A check as one JSON object and a line end.
std::string check_json(const data::DataCheck& check);
/// A check for a terminal: columns with their types and why, then findings, severe first.
std::string check_text(const data::DataCheck& check);

}  // namespace quern::cli
