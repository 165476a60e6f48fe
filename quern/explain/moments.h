#pragma once

#include <cmath>
#include <cstddef>

namespace quern::explain {

/// Mean and spread of draws seen one by one (Welford 1962).
class Moments {
 public:
  void add(double x) {
    ++count_;
    const double before = x - mean_;
    mean_ += before / static_cast<double>(count_);
    squares_ += before * (x - mean_);
  }
  size_t count() const { return count_; }
  double mean() const { return mean_; }
  /// Of the draws, unbiased; 0 for fewer than two.
  double variance() const { return count_ < 2 ? 0 : squares_ / static_cast<double>(count_ - 1); }
  double standard_error() const {
    return count_ < 2 ? 0 : std::sqrt(variance() / static_cast<double>(count_));
  }

 private:
  size_t count_ = 0;
  double mean_ = 0, squares_ = 0;
};

}  // namespace quern::explain
