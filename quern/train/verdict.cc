#include "quern/train/verdict.h"

#include <fmt/format.h>

namespace quern::train {

std::string with_commas(int64_t value) {
  std::string digits = fmt::format("{}", value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

Verdict judge(std::span<const EvaluationRecord> history, double train_loss,
              double validation_loss) {
  constexpr int64_t kRising = 3;
  constexpr double kGapShare = 0.2;
  Verdict verdict;
  verdict.gap = validation_loss - train_loss;
  if (history.empty()) {
    verdict.text = "too few steps to tell whether the model overfits";
    return verdict;
  }
  for (const EvaluationRecord& record : history) {
    if (record.best) {
      verdict.best_step = record.step;
      verdict.rising = 0;
    } else {
      ++verdict.rising;
    }
  }
  if (verdict.rising >= kRising) {
    verdict.fit = Fit::kOverfits;
    verdict.text = fmt::format(
        "overfits: validation has not fallen below its best for {} evaluations; restored step {}",
        verdict.rising, with_commas(verdict.best_step));
  } else if (verdict.gap > kGapShare * validation_loss) {
    verdict.fit = Fit::kGap;
    verdict.text = fmt::format(
        "remembers the training data: its loss there is {:.2f} below validation's, though "
        "validation "
        "still fell",
        verdict.gap);
  } else if (verdict.rising == 0 && history.size() > 1) {
    verdict.fit = Fit::kStillLearning;
    verdict.text = fmt::format(
        "no overfitting: validation was still falling at the last step (gap {:.2f})", verdict.gap);
  } else {
    verdict.fit = Fit::kFits;
    verdict.text = fmt::format("no overfitting: best at step {} (gap {:.2f})",
                               with_commas(verdict.best_step), verdict.gap);
  }
  return verdict;
}

}  // namespace quern::train
