#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <span>
#include <vector>

#include "quern/tensor/buffer.h"
#include "quern/train/ranks.h"
#include "quern/train/shards.h"

namespace quern::train {

/// Floats of the arena that go to their owner at once.
struct ExchangeChunk {
  Shards::Range range;
  int owner = 0;
  int32_t whole_after = -1;  // the step of the plan after which the gradient is whole

  size_t count() const { return range.end - range.begin; }
};
/// The arena in chunks of at most `most` floats (a multiple of Shards::kUnit), each of one owner,
/// in the order in which backward makes them whole: the same on all ranks. Small parameters travel
/// together. `whole_after` is, for each parameter, the step after which its gradient is whole.
std::vector<ExchangeChunk> plan_exchange(const Shards& shards, std::span<const int32_t> whole_after,
                                         size_t most);

/// Sums gradients over ranks while backward still runs: each rank ends with the sum of what it
/// owns, in place; of the rest its arena keeps its own part, or what came of adding it. A chunk is
/// sent as soon as its gradient is whole.
class GradientExchange {
 public:
  static constexpr int32_t kAllSteps = std::numeric_limits<int32_t>::max();
  virtual ~GradientExchange() = default;

  virtual void begin() = 0;
  /// Steps of the plan up to this one are done, or queued where a GPU computes: sends what is
  /// whole. Of a run that a GPU repeats as a captured graph it is not called: what it queued then
  /// is part of that graph.
  virtual void advance(int32_t step) = 0;
  /// Returns when everything is sent and summed. All chunks must be whole.
  virtual void finish() = 0;

  /// Gives every rank the values that each owns. `values`: the arena.
  virtual void share(std::span<float> values) = 0;

  /// On the side that trains.
  virtual size_t allocated_bytes() const = 0;
};

/// Over the ranks' transport, between processors. Parts are added in a fixed pairwise tree by rank,
/// so a result depends on the number of ranks only by what each adds.
class HostExchange : public GradientExchange {
 public:
  /// `whole_after`: see plan_exchange().
  HostExchange(Ranks& ranks, const Shards& shards, std::span<float> gradients,
               std::span<const int32_t> whole_after);

  void begin() override;
  void advance(int32_t step) override;
  void finish() override;
  void share(std::span<float> values) override;

  size_t allocated_bytes() const override { return incoming_.size(); }
  static size_t planned_bytes(int ranks);

 private:
  void receive_ahead();
  void add_arrived();
  bool all_done(std::vector<Transport::Request>& requests);
  std::span<float> slot(size_t mine, int rank);

  Ranks& ranks_;
  const Shards& shards_;
  std::span<float> gradients_;
  std::vector<ExchangeChunk> chunks_;
  std::vector<size_t> mine_;  // indices of those that this rank owns
  Buffer incoming_;           // a ring of kAhead chunks, one part a rank
  int32_t step_ = -1;
  size_t next_send_ = 0, next_receive_ = 0, next_add_ = 0;
  std::vector<Transport::Request> sends_;
  std::deque<std::vector<Transport::Request>> receives_;
};

/// Adds parts[1 …] into parts[0], neighbours first (pairwise tree), each `count` floats. Overwrites
/// all of them.
void tree_add(std::span<float* const> parts, size_t count);

}  // namespace quern::train
