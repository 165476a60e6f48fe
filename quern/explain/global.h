#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "quern/explain/explanation.h"
#include "quern/metrics/interval.h"
#include "quern/report/html.h"

namespace quern::explain {

/// A part that stands in many rows: a column, a word, a patch.
struct GlobalPart {
  std::string kind, name;
  metrics::Interval importance;  // mean |phi| over the rows; 95 % by bootstrap
  double mean = 0;               // of phi where the part is present
  size_t rows = 0;               // that hold it
  std::vector<double> phi;       // of those rows
  std::vector<std::string> values;
};

/// What matters over a data set: rows explained one by one, and summed up.
struct GlobalExplanation {
  std::string run, task, input, target, unit, method, mask_policy;
  size_t rows = 0;
  uint64_t evaluations = 0, rows_answered = 0, seed = 0;
  double seconds = 0;
  double completeness_error = 0;  // the largest of all rows
  double standard_error = 0;      // of a contribution, the median over rows and parts
  std::vector<GlobalPart> parts;  // by falling importance
};

/// Sums up explanations of one target, bootstrap fixed by the seed.
GlobalExplanation summarise(std::span<const Explanation> rows, uint64_t seed);

/// What every way of showing it shows: "part", "mean size, UNIT", "95 % interval", "mean where
/// present", "rows", and a row for each of the fifty strongest parts; how it was found and how sure
/// it is.
std::vector<std::string> importance_header(const GlobalExplanation& global);
report::Rows importance_rows(const GlobalExplanation& global);
std::vector<std::string> sentences(const GlobalExplanation& global);

nlohmann::ordered_json to_json(const GlobalExplanation& global);
std::string terminal_text(const GlobalExplanation& global, size_t most = 20);
/// Importance, a beeswarm, and how the contribution of each strong column depends on its value.
std::string to_html(const GlobalExplanation& global);

}  // namespace quern::explain
