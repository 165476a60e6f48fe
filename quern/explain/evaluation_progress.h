#pragma once

#include <cstddef>

#include "quern/base/progress.h"

namespace quern::explain {

/// Tells how far the evaluations of a game are. Work that is done within a second is not told of.
class EvaluationProgress {
 public:
  /// `total`: evaluations at most. `reporter` may be null.
  EvaluationProgress(Reporter* reporter, size_t total);
  void tell(size_t done) const;

 private:
  Reporter* reporter_;
  size_t total_;
  Estimate estimate_;
};

}  // namespace quern::explain
