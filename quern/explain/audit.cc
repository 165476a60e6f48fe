#include "quern/explain/audit.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "quern/model/decoder.h"

namespace quern::explain {
namespace {

std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    for (size_t i = first; i <= last; ++i) ranks[order[i]] = static_cast<double>(first + last) / 2;
    first = last + 1;
  }
  return ranks;
}

std::vector<double> sizes_of(std::span<const double> phi) {
  std::vector<double> sizes;
  for (const double one : phi) sizes.push_back(std::abs(one));
  return sizes;
}

}  // namespace

double rank_correlation(std::span<const double> a, std::span<const double> b) {
  const std::vector<double> x = ranks_of(a), y = ranks_of(b);
  const double middle = (static_cast<double>(a.size()) - 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - middle) * (y[i] - middle);
    xx += (x[i] - middle) * (x[i] - middle);
    yy += (y[i] - middle) * (y[i] - middle);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

graph::ParameterStore untrained(const model::ModelConfig& config, kernels::cuda::Gpu* gpu,
                                uint64_t seed) {
  graph::ParameterStore random;
  model::declare_parameters(config, random);
  random.use(gpu);
  random.allocate();
  model::initialise(config, random, seed);
  return random;
}

Audit audit(Game& game, const Attribution& attribution, const Attribution& randomised) {
  Audit result;
  result.asked = true;
  std::vector<size_t> order(attribution.phi.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return attribution.phi[a] > attribution.phi[b]; });
  result.faithfulness = faithfulness(game, order, attribution.seed);
  result.randomised_correlation =
      rank_correlation(sizes_of(attribution.phi), sizes_of(randomised.phi));
  return result;
}

}  // namespace quern::explain
