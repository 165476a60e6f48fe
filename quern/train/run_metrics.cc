#include "quern/train/run_metrics.h"

#include <nlohmann/json.hpp>

#include "quern/formats/json.h"
#include "quern/kernels/cuda/device_name.h"
#include "quern/train/regularisation.h"

namespace quern::train {

nlohmann::ordered_json metrics_head(const TrainRequest& request, const TrainSummary& summary,
                                    std::string_view task, std::string_view rate) {
  const TrainResult& result = summary.result;
  return {{"run", summary.run.string()},
          {"task", task},
          {"device", kernels::cuda::device_name(request.gpu)},
          {"ranks", request.ranks->size()},
          {"parameters", summary.parameters},
          {"steps", result.steps},
          {"seconds", result.seconds},
          {"best_step", result.best_step},
          {"stopped_because", name(result.stopped_because)},
          {std::string(rate), result.tokens_per_second}};
}

std::string finish_metrics(nlohmann::ordered_json json, const run::Options& options,
                           const TrainSummary& summary, double peak_flops) {
  const TrainResult& result = summary.result;
  if (result.stopped_because != StopReason::kInterrupted) {
    json["verdict"] = result.verdict.text;
    json["gap"] = result.verdict.gap;
    json["against_overfitting"] = against_overfitting(options, result);
  }
  if (peak_flops > 0) json["share_of_peak"] = result.flops_per_second / peak_flops;
  json["planned_bytes"] = summary.planned_bytes;
  json["allocated_bytes"] = summary.allocated_bytes;
  return formats::json_text(json, 2);
}

}  // namespace quern::train
