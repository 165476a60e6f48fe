#include "quern/train/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "quern/base/error.h"

namespace quern::train {

ScheduleKind parse_schedule(std::string_view name) {
  if (name == "cosine") return ScheduleKind::kCosine;
  if (name == "linear") return ScheduleKind::kLinear;
  if (name == "constant") return ScheduleKind::kConstant;
  if (name == "wsd") return ScheduleKind::kWarmupStableDecay;
  throw UsageError("bad_value", fmt::format("train.schedule = '{}' is not known", name),
                   "choose cosine, linear, constant or wsd");
}

double Schedule::rate(int64_t step) const {
  if (step < warmup_steps) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  const double span = static_cast<double>(std::max<int64_t>(total_steps - 1 - warmup_steps, 1));
  const double progress = std::clamp(static_cast<double>(step - warmup_steps) / span, 0.0, 1.0);
  switch (kind) {
    case ScheduleKind::kCosine:
      return minimum + (peak - minimum) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    case ScheduleKind::kLinear:
      return peak + (minimum - peak) * progress;
    case ScheduleKind::kConstant:
      return peak;
    case ScheduleKind::kWarmupStableDecay:
      return peak + (minimum - peak) * std::max(0.0, progress - (1 - kDecayShare)) / kDecayShare;
  }
  return peak;
}

}  // namespace quern::train
