#pragma once

#include <memory>

#include "quern/kernels/cuda/communicator.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/train/ranks.h"

namespace quern::train {

/// Which of `gpus` GPUs that this process sees is that of the rank at `place` among `local` on its
/// machine. A process that is shown one alone, as Slurm deals them out, takes that. Throws
/// Error("too_few_gpus").
int gpu_of_rank(int gpus, int place, int local);

/// Opens the GPU of this rank, as kernels::cuda::open_gpu() does. All ranks call it, and none is
/// given another's: throws Error("too_few_gpus") that says how many there are, and
/// Error("no_cuda").
std::unique_ptr<kernels::cuda::Gpu> open_gpu(Ranks& ranks, kernels::cuda::Precision precision,
                                             bool stochastic_rounding);

/// The GPUs of all ranks, one each, joined by NCCL, seen from one of them.
class GpuRanks {
 public:
  /// All ranks call it; returns when all have. Both must outlive it. Throws Error("no_nccl"),
  /// Error("nccl"), and Error("rank_lost") when a rank on this machine is gone.
  GpuRanks(Ranks& ranks, kernels::cuda::Gpu& gpu);

  int rank() const { return ranks_.rank(); }
  int size() const { return ranks_.size(); }
  kernels::cuda::Gpu& gpu() { return gpu_; }
  kernels::cuda::Communicator& communicator() { return *communicator_; }

  /// Waits for a point in a queue, behind which transfers may wait for other ranks. When a rank on
  /// this machine is gone, or a transfer has failed, ends all transfers here, so that nothing waits
  /// for them, and throws Error("rank_lost") or Error("nccl").
  void wait(Event event);

 private:
  void require_transfers() const;

  Ranks& ranks_;
  kernels::cuda::Gpu& gpu_;
  std::unique_ptr<kernels::cuda::Communicator> communicator_;
};

}  // namespace quern::train
