#include "quern/explain/cube_kernel.h"

#include <algorithm>
#include <cmath>

namespace quern::explain {
namespace {

/// Logarithms of binomial coefficients up to n.
class LogChoose {
 public:
  explicit LogChoose(size_t n) : log_factorial_(n + 1, 0.0) {
    for (size_t i = 1; i <= n; ++i) {
      log_factorial_[i] = log_factorial_[i - 1] + std::log(static_cast<double>(i));
    }
  }
  double operator()(size_t n, size_t k) const {
    return log_factorial_[n] - log_factorial_[k] - log_factorial_[n - k];
  }

 private:
  std::vector<double> log_factorial_;
};

/// The mean, over sizes and coalitions S without a player i, of g(S with i) - g(S), g being the
/// column of a T that holds i and `others` more.
double shapley_of_column(const std::vector<double>& by_distance, const LogChoose& log_choose,
                         size_t players, size_t others) {
  double sum = 0;
  const size_t rest = players - 1;
  for (size_t size = 0; size <= rest; ++size) {
    const size_t least = size + others > rest ? size + others - rest : 0;
    for (size_t common = least; common <= std::min(size, others); ++common) {
      const double share =
          std::exp(log_choose(others, common) + log_choose(rest - others, size - common) -
                   log_choose(rest, size));
      const size_t distance = size + others - 2 * common;  // of S with i from T
      sum += share * (by_distance[distance] - by_distance[distance + 1]);
    }
  }
  return sum / static_cast<double>(players);
}

}  // namespace

CubeKernel::CubeKernel(size_t players, double roughness)
    : by_distance_(players + 1), member_(players + 1, 0.0), other_(players + 1, 0.0) {
  const double m = static_cast<double>(players);
  const double scale = -std::expm1(-roughness);
  for (size_t h = 0; h <= players; ++h) {
    const double distance = static_cast<double>(h);
    by_distance_[h] =
        (std::exp(-roughness * distance / m) - std::exp(-roughness * (m - distance) / m)) / scale;
  }
  // g is half of a difference; the shares of members and others add up to g(all) - g(nobody).
  const LogChoose log_choose(players);
  for (size_t size = 1; size <= players; ++size) {
    member_[size] = 0.5 * shapley_of_column(by_distance_, log_choose, players, size - 1);
  }
  for (size_t size = 0; size < players; ++size) {
    const double all = by_distance_[players - size];
    other_[size] =
        (all - static_cast<double>(size) * member_[size]) / static_cast<double>(players - size);
  }
  for (size_t size = 0; size < players; ++size) {
    variance_ += (member_[size + 1] - other_[size]) / (2 * m);
  }
}

}  // namespace quern::explain
