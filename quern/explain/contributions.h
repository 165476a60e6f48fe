#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quern/explain/explanation.h"
#include "quern/report/html.h"

// What every way of showing an explanation shows.
namespace quern::explain {

/// "part", "value", "contribution, UNIT", "95 % interval"; and a row a part, strongest first.
std::vector<std::string> contribution_header(const Explanation& explanation);
report::Rows contribution_rows(const Explanation& explanation);

/// The picture under the contribution of each of its parts, spread over that part's pixels:
/// (height, width, 3). See report::heat_map.
std::vector<uint8_t> heat_pixels(const Explanation& explanation);

}  // namespace quern::explain
