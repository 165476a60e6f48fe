#include "quern/explain/evaluation_progress.h"

#include <fmt/format.h>

namespace quern::explain {

EvaluationProgress::EvaluationProgress(Reporter* reporter, size_t total)
    : reporter_(reporter), total_(total), estimate_(static_cast<double>(total)) {}

void EvaluationProgress::tell(size_t done) const {
  if (reporter_ == nullptr || done >= total_ || estimate_.seconds_passed() < 1) return;
  reporter_->progress(
      fmt::format("{} of at most {} evaluations, {} left", done, total_,
                  format_duration(estimate_.seconds_left(static_cast<double>(done)))));
}

}  // namespace quern::explain
