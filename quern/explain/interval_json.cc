#include "quern/explain/interval_json.h"

#include <nlohmann/json.hpp>

namespace quern::explain {

nlohmann::ordered_json interval_json(const metrics::Interval& interval) {
  return {{"value", interval.value}, {"low", interval.low}, {"high", interval.high}};
}

}  // namespace quern::explain
