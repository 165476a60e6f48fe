#include "quern/explain/attribution.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace quern::explain {

double Attribution::completeness_error() const {
  return std::abs(value - std::accumulate(phi.begin(), phi.end(), base));
}

metrics::Interval Attribution::interval(size_t player) const {
  return {phi[player], phi[player] - margins[player], phi[player] + margins[player]};
}

std::vector<size_t> Attribution::ranking() const {
  std::vector<size_t> order(phi.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return std::abs(phi[a]) > std::abs(phi[b]); });
  return order;
}

double student_t975(double degrees_of_freedom) {
  constexpr double kTails = 0.05, kNormal = -1.959963984540054;
  const double n = degrees_of_freedom;
  if (n == 2) return std::sqrt(2 / (kTails * (2 - kTails)) - 2);
  if (n == 1) return std::tan(std::numbers::pi * (1 - kTails) / 2);
  const double a = 1 / (n - 0.5), b = 48 / (a * a);
  double c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
  const double d = ((94.5 / (b + c) - 3) / b + 1) * std::sqrt(a * std::numbers::pi / 2) * n;
  double y = std::pow(d * kTails, 2 / n);
  if (y > 0.05 + a) {
    const double x = kNormal;
    y = x * x;
    if (n < 5) c += 0.3 * (n - 4.5) * (x + 0.6);
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c;
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
    y = std::expm1(a * y * y);
  } else {
    y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) *
            (n + 1) / (n + 2) +
        1 / y;
  }
  return std::sqrt(n * y);
}

}  // namespace quern::explain
