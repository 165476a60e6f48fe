#include "quern/explain/answer_gradient.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quern/metrics/softmax.h"

namespace quern::explain {
namespace {

/// Softmax of one member's logits.
void soften(std::span<const float> logits, std::span<double> p) {
  std::ranges::copy(logits, p.begin());
  metrics::softmax(p);
}

}  // namespace

double answer_gradient(const run::RowPipeline& pipeline, RowTarget target, size_t outputs,
                       std::span<const float> logits, std::span<double> gradient) {
  const size_t members = logits.size() / outputs;
  const double share = 1 / static_cast<double>(members);
  if (target.scale == RowTarget::Scale::kValue) {
    double mean = 0;
    for (const float logit : logits) mean += share * static_cast<double>(logit);
    std::ranges::fill(gradient, share * pipeline.deviation);
    return pipeline.mean + pipeline.deviation * mean;
  }
  std::vector<double> p(logits.size()), mean(outputs, 0.0);  // of members; over them
  for (size_t k = 0; k < members; ++k) {
    const auto of_member = std::span(p).subspan(k * outputs, outputs);
    soften(logits.subspan(k * outputs, outputs), of_member);
    for (size_t i = 0; i < outputs; ++i) mean[i] += share * of_member[i];
  }
  // q ∝ mean^(1/T), so that d q_c / d mean_j = q_c / T · ((j = c) - q_j) / mean_j.
  constexpr double kLeast = 1e-30;  // as apply_temperature has it
  std::vector<double> q(outputs);
  double sum = 0;
  for (size_t i = 0; i < outputs; ++i)
    sum += q[i] = std::pow(std::max(mean[i], kLeast), 1 / pipeline.temperature);
  for (double& one : q) one /= sum;
  const double answer = q[target.output];
  const bool odds = target.scale == RowTarget::Scale::kLogOdds;
  const double inside = std::clamp(answer, kLeastOdds, 1 - kLeastOdds);
  double outer = 1;
  if (odds) outer = inside == answer ? 1 / (inside * (1 - inside)) : 0;
  std::vector<double> by_mean(outputs);
  for (size_t j = 0; j < outputs; ++j) {
    by_mean[j] = outer * answer / pipeline.temperature * ((j == target.output ? 1 : 0) - q[j]) /
                 std::max(mean[j], kLeast);
  }
  for (size_t k = 0; k < members; ++k) {
    const auto of_member = std::span(p).subspan(k * outputs, outputs);
    double along = 0;
    for (size_t i = 0; i < outputs; ++i) along += by_mean[i] * of_member[i];
    for (size_t i = 0; i < outputs; ++i)
      gradient[k * outputs + i] = share * of_member[i] * (by_mean[i] - along);
  }
  return odds ? std::log(inside / (1 - inside)) : answer;
}

}  // namespace quern::explain
