#pragma once

#include <cstddef>
#include <vector>

#include "quern/graph/store.h"

namespace quern::train {

/// The parameter arena cut in pieces that no number of ranks changes, and dealt out: each rank owns
/// one contiguous run of them, of about the same size, and keeps optimizer state for that alone
/// (ZeRO-1: Rajbhandari et al. 2020).
class Shards {
 public:
  using Range = graph::ParameterStore::Range;

  /// `whole_matrices`: what Muon takes is owned whole. The store must be laid out or declared
  /// whole.
  Shards(const graph::ParameterStore& parameters, int ranks, bool whole_matrices);

  int ranks() const { return static_cast<int>(owned_.size()); }
  Range owned(int rank) const { return owned_[static_cast<size_t>(rank)]; }
  /// At most this many floats of one parameter, with the padding behind it; in order, and together
  /// the whole arena.
  static constexpr size_t kUnit = size_t{1} << 16;
  struct Unit {
    Range range;
    int parameter;
  };
  const std::vector<Unit>& units() const { return units_; }

 private:
  std::vector<Unit> units_;
  std::vector<Range> owned_;
};

/// What two ranges have in common; {0, 0} where nothing.
Shards::Range common(Shards::Range a, Shards::Range b);

}  // namespace quern::train
