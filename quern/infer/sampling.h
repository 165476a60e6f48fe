#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quern::infer {

/// How the next token is drawn. Applied in this order, as the field's other programs do: repetition
/// penalty, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  double temperature = 0.8;  // 0: always the likeliest
  int64_t top_k = 0;         // keep the k likeliest; 0: all
  double top_p = 1;          // keep the likeliest until their sum reaches p (Holtzman et al. 2020)
  double min_p = 0;          // drop what is below min_p times the likeliest
  double repetition_penalty = 1;  // divides positive logits, multiplies negative ones, of tokens
                                  // seen (Keskar et al. 2019, CTRL)
  uint64_t seed = 1;

  /// Throws UsageError naming the option.
  void validate() const;
};

struct Candidate {
  uint32_t token = 0;
  double probability = 0;
};

/// The k likeliest tokens of softmax(logits), likeliest first, ties by the lower id: what the model
/// says, before temperature or any filter.
std::vector<Candidate> likeliest(std::span<const float> logits, size_t k);

/// Softmax of logits in double, and its entropy in nats.
std::vector<double> probabilities(std::span<const float> logits);
double entropy(std::span<const double> probabilities);

/// Draws a token; `position` counts the drawn tokens and with the seed fixes the draw. `history`
/// are the tokens that the repetition penalty looks at. `work` is reused between calls.
uint32_t sample(const SamplingOptions& options, std::span<const float> logits,
                std::span<const uint32_t> history, uint64_t position, std::vector<Candidate>& work);

}  // namespace quern::infer
