#include "quern/sizing/estimate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"

namespace quern::sizing {
namespace {

constexpr double kUsable = 0.9;  // of the memory; the rest is the driver's, the library's, and gaps
constexpr double kHoursBetweenFailures = 50'700;
constexpr double kHour = 3600;

double state_bytes(const Demand& demand, double count, int stage) {
  switch (stage) {
    case 1:
      return demand.parameters * (6 + 12 / count);
    case 2:
      return demand.parameters * (2 + 16 / count);
    default:
      return demand.parameters * 18 / count + 2 * demand.parameters / demand.layers;
  }
}

}  // namespace

Demand Demand::of(const model::ModelConfig& config, double tokens) {
  Demand demand;
  demand.parameters = static_cast<double>(model::count_parameters(config));
  demand.flops_per_token = model::training_flops_per_token(config);
  demand.layers = static_cast<double>(config.layers);
  demand.width = static_cast<double>(config.width);
  demand.context = static_cast<double>(config.context);
  demand.vocabulary = static_cast<double>(config.vocabulary);
  demand.tokens = tokens;
  return demand;
}

Placement place(const Demand& demand, int64_t count, int stage, bool recompute) {
  Placement placement;
  placement.stage = stage;
  placement.recompute = recompute;
  placement.state = state_bytes(demand, static_cast<double>(count), stage);
  const double residual = demand.context * demand.width;
  const double layers =
      recompute ? 2 * residual * demand.layers + 34 * residual : 34 * residual * demand.layers;
  placement.activations = layers + 2 * 2 * demand.context * demand.vocabulary;
  return placement;
}

std::optional<Placement> fit(const Demand& demand, const Hardware& hardware, int64_t count) {
  for (const bool recompute : {false, true}) {
    for (const int stage : {1, 2, 3}) {
      const Placement placement = place(demand, count, stage, recompute);
      if (placement.total() <= kUsable * hardware.memory) return placement;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> fewest_that_fit(const Demand& demand, const Hardware& hardware,
                                       int64_t most) {
  if (!fit(demand, hardware, most)) return std::nullopt;
  int64_t low = 0;  // does not fit
  int64_t high = most;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fit(demand, hardware, middle) ? high : low) = middle;
  }
  return high;
}

double training_seconds(const Demand& demand, const Hardware& hardware, int64_t count, double share,
                        bool recompute) {
  if (!(share > 0 && share <= 1)) {
    throw UsageError("bad_value", fmt::format("{:.4g} of the peak cannot be reached", share),
                     "give a share above 0 and at most 1; 0.4 is usual");
  }
  const double work = demand.flops_per_token * demand.tokens * (recompute ? 4.0 / 3 : 1);
  return work / (static_cast<double>(count) * hardware.flops * share);
}

int64_t fewest_in_time(const Demand& demand, const Hardware& hardware, double share, bool recompute,
                       double seconds) {
  const double one = training_seconds(demand, hardware, 1, share, recompute);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(one / seconds)));
}

double expected_failures(double accelerator_hours) {
  return accelerator_hours / kHoursBetweenFailures;
}

double checkpoint_interval(int64_t count, double save_seconds) {
  return std::sqrt(2 * save_seconds * kHoursBetweenFailures * kHour / static_cast<double>(count));
}

}  // namespace quern::sizing
