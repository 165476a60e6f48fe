#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "quern/tensor/buffer.h"
#include "quern/train/ranks.h"
#include "quern/train/shards.h"

namespace quern::train {

/// Sums gradients over ranks while backward still runs: each rank ends with the sum of what it
/// owns, in place; the rest of its arena keeps its own part. A chunk is sent as soon as its
/// gradient is whole. Parts are added in a fixed pairwise tree by rank, so a result depends on the
/// number of ranks only by what each adds.
class GradientExchange {
 public:
  /// `whole_after` is, for each parameter, the step of the plan after which its gradient is whole.
  GradientExchange(Ranks& ranks, const Shards& shards, std::span<float> gradients,
                   std::span<const int32_t> whole_after);

  void begin();
  /// Steps of the plan up to this one are done: sends what is whole, takes in what has come.
  void advance(int32_t step);
  /// Returns when everything is sent and summed.
  void finish();

  size_t allocated_bytes() const { return incoming_.size(); }
  static size_t planned_bytes(int ranks);

 private:
  struct Chunk {
    Shards::Range range;
    int owner;
    int32_t whole_after;
  };
  void receive_ahead();
  void add_arrived();
  bool all_done(std::vector<Transport::Request>& requests);
  std::span<float> slot(size_t mine, int rank);

  Ranks& ranks_;
  std::span<float> gradients_;
  std::vector<Chunk> chunks_;  // by the step that makes them whole; the same on all ranks
  std::vector<size_t> mine_;   // indices of those that this rank owns
  Buffer incoming_;            // a ring of kAhead chunks, one part a rank
  int32_t step_ = -1;
  size_t next_send_ = 0, next_receive_ = 0, next_add_ = 0;
  std::vector<Transport::Request> sends_;
  std::deque<std::vector<Transport::Request>> receives_;
};

/// Adds parts[1 …] into parts[0], neighbours first (pairwise tree), each `count` floats. Overwrites
/// all of them.
void tree_add(std::span<float* const> parts, size_t count);

}  // namespace quern::train
