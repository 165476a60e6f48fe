#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/tensor/buffer.h"
#include "quern/train/gpu_ranks.h"
#include "quern/train/gradient_exchange.h"

namespace quern::train {

/// Between the GPUs of the ranks, through NCCL, on a queue of its own beside that which computes:
/// each chunk waits for the steps before it alone, and what computes waits for the last chunk.
class GpuExchange : public GradientExchange {
 public:
  struct Options {
    /// Parts are added in the pairwise tree of HostExchange, in which the number of ranks does not
    /// show, rather than in the order in which NCCL's ring passes them.
    bool exact = false;
  };
  /// `gradients` and `values` must stand where the GPU has them. `whole_after`: see
  /// plan_exchange().
  GpuExchange(GpuRanks& gpus, const Shards& shards, std::span<float> gradients,
              std::span<const int32_t> whole_after, Options options);

  void begin() override;
  void advance(int32_t step) override;
  void finish() override;
  void share(std::span<float> values) override;

  size_t allocated_bytes() const override { return incoming_.size(); }
  /// `arena`: floats of it.
  static size_t planned_bytes(int ranks, size_t arena, Options options);

 private:
  void reduce(std::span<const ExchangeChunk> chunks);
  void add_exactly(const ExchangeChunk& chunk);
  void gather(const ExchangeChunk& chunk);
  void follow(Event event, Queue from, Queue to);

  GpuRanks& gpus_;
  const Shards& shards_;
  std::span<float> gradients_;
  Options options_;
  std::vector<ExchangeChunk> chunks_;
  Buffer incoming_;  // exact: (ranks - 1, slot), of one chunk of this rank's
  size_t slot_ = 0;  // floats
  size_t next_ = 0;  // of chunks_
  Event computed_, exchanged_, done_;
};

}  // namespace quern::train
