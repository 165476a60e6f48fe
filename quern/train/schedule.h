#pragma once

#include <cstdint>
#include <string_view>

namespace quern::train {

enum class ScheduleKind : uint8_t { kCosine, kLinear, kConstant, kWarmupStableDecay };
/// "cosine", "linear", "constant", "wsd"; throws UsageError naming the text.
ScheduleKind parse_schedule(std::string_view name);

/// The learning rate of every step. Linear warm-up from peak / warmup to peak, then:
///  - cosine: min + (peak - min) · (1 + cos(π p)) / 2, p the share of the steps after the warm-up
///    (Loshchilov & Hutter 2017, "SGDR", one period);
///  - linear: peak to min;
///  - constant: peak;
///  - wsd: peak until the last fifth, then linear to min (Hu et al. 2024, "MiniCPM", section 4).
struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 1e-3;
  double minimum = 1e-4;
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;

  static constexpr double kDecayShare = 0.2;

  /// Of step 0 … total_steps - 1; beyond them, the rate of the last.
  double rate(int64_t step) const;
};

}  // namespace quern::train
