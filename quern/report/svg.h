#pragma once

#include <algorithm>
#include <string>
#include <vector>

// What the plots share.
namespace quern::report {

/// The opening tag of a picture of so many pixels.
std::string open_svg(double width, double height);

/// The values that an axis covers.
struct Range {
  double low = 0, high = 1;

  void cover(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  /// Never empty.
  void widen() {
    if (high - low > 0) return;
    low -= 0.5;
    high += 0.5;
  }
  /// 0 at its low end, 1 at its high end.
  double share(double value) const { return (value - low) / (high - low); }
  /// About `count` round numbers in it.
  std::vector<double> ticks(int count) const;
};

}  // namespace quern::report
