#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "quern/base/thread_pool.h"
#include "quern/kernels/cuda/driver.h"

namespace quern::graph {

/// Keeps a run's work as CUDA graphs. The first run of each kind is plain, so that kernels are
/// loaded and products have chosen their algorithms; the second is captured, and it and all later
/// ones launch what was.
class Replay {
 public:
  /// Without `capture` every run is plain.
  Replay(kernels::cuda::Driver& driver, bool capture) : driver_(driver), capture_(capture) {}

  /// What of a run stays the same in all runs of its kind.
  struct Kind {
    bool accumulates = false;
    bool followed = false;  // others queue work between its steps
  };
  /// `queue_work` is called in the plain run and in the captured one, not where that is launched
  /// again.
  void run(Kind kind, FunctionRef<void()> queue_work);

 private:
  struct Kept {
    bool warm = false;
    std::unique_ptr<kernels::cuda::CapturedGraph> graph;
  };
  kernels::cuda::Driver& driver_;
  bool capture_;
  std::array<Kept, 4> kinds_;
};

}  // namespace quern::graph
