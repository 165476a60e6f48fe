#include "quern/metrics/interval.h"

#include <algorithm>
#include <cmath>

#include "quern/base/random.h"

namespace quern::metrics {

double value_of(std::span<const Score> scores, std::string_view name) {
  const auto found = std::ranges::find(scores, name, &Score::name);
  return found == scores.end() ? std::nan("") : found->interval.value;
}

Interval centred(Interval interval) {
  const double moved = interval.value - (interval.low + interval.high) / 2;
  interval.low = std::max(interval.low + moved, 0.0);
  interval.high = std::min(interval.high + moved, 1.0);
  return interval;
}

Interval bootstrap(size_t rows, const std::function<double(std::span<const float> counts)>& score,
                   uint64_t seed, int resamples) {
  std::vector<float> counts(rows, 1.0F);
  Interval interval;
  interval.value = interval.low = interval.high = score(counts);
  if (rows < 2) return interval;
  std::vector<double> values;
  for (int draw = 0; draw < resamples; ++draw) {
    std::fill(counts.begin(), counts.end(), 0.0F);
    Random random(seed, Stream::kBootstrap, static_cast<uint64_t>(draw));
    for (size_t i = 0; i < rows; ++i) counts[random.below(rows)] += 1;
    const double value = score(counts);
    if (std::isfinite(value)) values.push_back(value);
  }
  if (values.empty()) return interval;
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double at = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(at);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
  };
  interval.low = quantile(0.025);
  interval.high = quantile(0.975);
  return interval;
}

}  // namespace quern::metrics
