#include "quern/sizing/scaling_law.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"

namespace quern::sizing {
namespace {

// Muennighoff et al. 2023: how fast repeats and surplus parameters lose their worth.
constexpr double kRepeatDecay = 15.388;
constexpr double kSurplusDecay = 5.310;

/// What `count` is worth where `useful` is worth itself and the rest decays.
double worth(double count, double useful, double decay) {
  if (count <= useful) return count;
  const double repeats = count / useful - 1;
  return useful * (1 + decay * (1 - std::exp(-repeats / decay)));
}

/// G of the best allocation, N = G · (C / 6)^(β / (α + β)) (Hoffmann et al. 2022, equation 4).
double allocation_factor(const ScalingLaw& law) {
  return std::pow(law.alpha * law.a / (law.beta * law.b), 1 / (law.alpha + law.beta));
}

/// Tokens with which so many parameters reach a loss.
double tokens_to_reach(const ScalingLaw& law, double parameters, double target) {
  const double left = target - law.e - law.a / std::pow(parameters, law.alpha);
  return std::pow(law.b / left, 1 / law.beta);
}

}  // namespace

double loss(const ScalingLaw& law, double parameters, double tokens) {
  return law.e + law.a / std::pow(parameters, law.alpha) + law.b / std::pow(tokens, law.beta);
}

double repeated_loss(double parameters, double tokens, double unique) {
  const double g = allocation_factor(kMuennighoff);
  const double called_for = std::min(parameters, g * g * unique);
  return loss(kMuennighoff, worth(parameters, called_for, kSurplusDecay),
              worth(tokens, std::min(tokens, unique), kRepeatDecay));
}

Allocation best_allocation(const ScalingLaw& law, double flops) {
  const double product = flops / 6;
  const double parameters =
      allocation_factor(law) * std::pow(product, law.beta / (law.alpha + law.beta));
  return {parameters, product / parameters};
}

Allocation best_allocation_for_use(const ScalingLaw& law, double target, double served) {
  if (!(target > law.e)) {
    throw UsageError(
        "bad_value",
        fmt::format("a loss of {:.4g} cannot be reached: the law's floor is {:.4g}", target, law.e),
        "ask for a higher loss");
  }
  // The fewest parameters reach it with endless tokens; the cost has one minimum beyond.
  const double fewest = std::pow(law.a / (target - law.e), 1 / law.alpha);
  const auto cost = [&](double logarithm) {
    const double parameters = std::exp(logarithm);
    return parameters * (6 * tokens_to_reach(law, parameters, target) + 2 * served);
  };
  double low = std::log(fewest) + 1e-9;
  double high = low + 25;
  constexpr double kGolden = 0.6180339887498949;
  for (int i = 0; i < 200; ++i) {
    const double a = high - kGolden * (high - low);
    const double b = low + kGolden * (high - low);
    if (cost(a) < cost(b)) {
      high = b;
    } else {
      low = a;
    }
  }
  const double parameters = std::exp((low + high) / 2);
  return {parameters, tokens_to_reach(law, parameters, target)};
}

}  // namespace quern::sizing
