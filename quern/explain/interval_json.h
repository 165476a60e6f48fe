#pragma once

#include <nlohmann/json_fwd.hpp>

#include "quern/metrics/interval.h"

namespace quern::explain {

/// value, low and high; what is not finite is written as null.
nlohmann::ordered_json interval_json(const metrics::Interval& interval);

}  // namespace quern::explain
