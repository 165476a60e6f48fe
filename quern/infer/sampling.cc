#include "quern/infer/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/base/random.h"

namespace quern::infer {
namespace {

// Likelier first; equal ones by id, so that the order never depends on the algorithm that sorts.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
}
bool less_likely(const Candidate& a, const Candidate& b) { return likelier(b, a); }

void require(bool holds, const char* option, double value, const char* rule) {
  if (holds) return;
  throw UsageError("bad_value", fmt::format("{} {} is out of range", option, value), rule);
}

}  // namespace

void SamplingOptions::validate() const {
  require(temperature >= 0 && temperature <= 100, "--temperature", temperature,
          "give 0 (always the likeliest) to 100; 0.8 is usual");
  require(top_k >= 0, "--top-k", static_cast<double>(top_k), "give 0 (all) or a positive count");
  require(top_p > 0 && top_p <= 1, "--top-p", top_p, "give a share above 0 and up to 1");
  require(min_p >= 0 && min_p < 1, "--min-p", min_p, "give a share from 0 to below 1");
  require(repetition_penalty >= 0.01 && repetition_penalty <= 100, "--repetition-penalty",
          repetition_penalty, "give 1 (none) or a little more, such as 1.1");
}

std::vector<double> probabilities(std::span<const float> logits) {
  std::vector<double> result(logits.size());
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    result[i] = std::exp(static_cast<double>(logits[i]) - static_cast<double>(top));
    sum += result[i];
  }
  for (double& p : result) p /= sum;
  return result;
}

double entropy(std::span<const double> probabilities) {
  double sum = 0;
  for (const double p : probabilities) {
    if (p > 0) sum -= p * std::log(p);
  }
  return sum;
}

std::vector<Candidate> likeliest(std::span<const float> logits, size_t k) {
  const std::vector<double> p = probabilities(logits);
  std::vector<Candidate> all(p.size());
  for (size_t i = 0; i < p.size(); ++i) all[i] = {static_cast<uint32_t>(i), p[i]};
  k = std::min(k, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(k), all.end(), likelier);
  all.resize(k);
  return all;
}

uint32_t sample(const SamplingOptions& options, std::span<const float> logits,
                std::span<const uint32_t> history, uint64_t position,
                std::vector<Candidate>& work) {
  work.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    work[i] = {static_cast<uint32_t>(i), static_cast<double>(logits[i])};
  }
  if (options.repetition_penalty != 1) {
    for (const uint32_t token : history) {
      if (token >= logits.size()) continue;
      // From the logit itself, so that a token seen twice is not punished twice.
      const double logit = static_cast<double>(logits[token]);
      work[token].probability =
          logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    }
  }
  const auto top = std::min_element(work.begin(), work.end(), likelier);
  if (options.temperature == 0 || options.top_k == 1) return top->token;
  const double highest = top->probability;
  for (Candidate& candidate : work) {
    candidate.probability = std::exp((candidate.probability - highest) / options.temperature);
  }

  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < work.size()) {
    std::nth_element(work.begin(), work.begin() + options.top_k, work.end(), likelier);
    work.resize(static_cast<size_t>(options.top_k));
  }
  double sum = 0;
  for (const Candidate& candidate : work) sum += candidate.probability;
  if (options.top_p < 1) {
    // A heap gives the likeliest one by one, and few are wanted of a large vocabulary.
    std::make_heap(work.begin(), work.end(), less_likely);
    const double wanted = options.top_p * sum;
    auto end = work.end();
    double kept = 0;
    while (end != work.begin() && kept < wanted) {
      std::pop_heap(work.begin(), end, less_likely);
      --end;
      kept += end->probability;
    }
    work.erase(work.begin(), end);
  }
  if (options.min_p > 0) {
    std::erase_if(work, [&](const Candidate& c) { return c.probability < options.min_p; });
  }
  // Summed and drawn in the order of ids, whatever order the filters left.
  std::sort(work.begin(), work.end(),
            [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  sum = 0;
  for (const Candidate& candidate : work) sum += candidate.probability;
  double left = Random(options.seed, Stream::kSampling, position).uniform() * sum;
  for (const Candidate& candidate : work) {
    left -= candidate.probability;
    if (left < 0) return candidate.token;
  }
  return work.back().token;
}

}  // namespace quern::infer
