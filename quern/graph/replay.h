#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "quern/base/thread_pool.h"
#include "quern/kernels/cuda/driver.h"

namespace quern::graph {

/// Keeps a run's work as CUDA graphs. The first run of each kind (accumulating or not) is plain, so
/// that kernels are loaded and products have chosen their algorithms; the second is captured, and
/// it and all later ones launch what was.
class Replay {
 public:
  /// Without `capture` every run is plain.
  Replay(kernels::cuda::Driver& driver, bool capture) : driver_(driver), capture_(capture) {}

  void run(bool accumulate, FunctionRef<void()> queue_work);
  bool captured(bool accumulate) const { return kinds_[accumulate ? 1 : 0].graph != nullptr; }

 private:
  struct Kind {
    bool warm = false;
    std::unique_ptr<kernels::cuda::CapturedGraph> graph;
  };
  kernels::cuda::Driver& driver_;
  bool capture_;
  std::array<Kind, 2> kinds_;
};

}  // namespace quern::graph
