#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::metrics {

/// A score with its 95 % interval.
struct Interval {
  double value = 0, low = 0, high = 0;
};

/// A score by its name in JSON.
struct Score {
  std::string name;
  Interval interval;
};

/// The value of the score of that name; NaN where there is none.
double value_of(std::span<const Score> scores, std::string_view name);

/// Moved so that its middle is the value, within [0, 1]: of a score that resampling itself moves,
/// as a share of different items (fewer are drawn) or a sum of absolute gaps (noise adds to them).
Interval centred(Interval interval);

/// Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) over rows: `score` takes how often
/// each row was drawn. `resamples` draws, fixed by the seed; resamples on which the score is not
/// finite (one class only) are left out.
Interval bootstrap(size_t rows, const std::function<double(std::span<const float> counts)>& score,
                   uint64_t seed, int resamples = 200);

}  // namespace quern::metrics
