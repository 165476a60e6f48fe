#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace quern::train {

/// What one evaluation found. Losses in nats a token; the training loss is the mean over the steps
/// since the last evaluation, dropout included.
struct EvaluationRecord {
  int64_t step = 0;
  double train_loss = 0;
  double validation_loss = 0;
  double learning_rate = 0;
  double seconds = 0;
  bool best = false;
};

enum class Fit : uint8_t { kUnknown, kStillLearning, kFits, kGap, kOverfits };

/// Whether the model overfits, in one plain sentence: kOverfits when validation has risen above its
/// best for three evaluations or more; kGap when it still fell, but the training loss (without
/// dropout) is more than a fifth lower; kStillLearning when the last evaluation was the best.
struct Verdict {
  Fit fit = Fit::kUnknown;
  int64_t rising = 0;  // evaluations since the best
  int64_t best_step = -1;
  double gap = 0;  // validation - training, nats a token, at the restored step
  std::string text;
};
Verdict judge(std::span<const EvaluationRecord> history, double train_loss, double validation_loss);

/// "1,250".
std::string with_commas(int64_t value);

}  // namespace quern::train
