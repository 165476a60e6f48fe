#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "quern/train/run_setup.h"

// What metrics.json says of every run, whatever it learns.
namespace quern::train {

/// How the training went; `rate` names what is counted a second, as "rows_per_second".
nlohmann::ordered_json metrics_head(const TrainRequest& request, const TrainSummary& summary,
                                    std::string_view task, std::string_view rate);

/// The text of the file: `json` with the verdict (of a run that was not interrupted), the share of
/// `peak_flops` (of the machine, a second; 0: not known, left out) and the memory.
std::string finish_metrics(nlohmann::ordered_json json, const run::Options& options,
                           const TrainSummary& summary, double peak_flops);

}  // namespace quern::train
