#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "quern/base/random.h"
#include "quern/explain/game.h"

namespace quern::explain {

/// Draws coalitions of one size, or their complements, without replacement: one of each complement
/// pair. Everything drawn follows from the seed.
class PairStratum {
 public:
  /// `size` from 1 to players / 2.
  PairStratum(size_t players, size_t size, uint64_t seed);

  size_t drawn() const { return seen_.size(); }
  bool exhausted() const { return static_cast<double>(drawn()) >= pairs_; }
  /// Pairs drawn for each size they cover: two, or one where half the players are as many again.
  double load() const;
  /// Appends a coalition of this size that was not drawn before, and its complement.
  void draw(Coalitions& coalitions);

 private:
  size_t players_, size_;
  double pairs_;
  Random random_;
  std::unordered_set<std::string> seen_;
  std::vector<uint8_t> flags_;
};

/// All sizes of a game; pairs are shared out so that every size has as many, as far as it has them.
class PairSampler {
 public:
  PairSampler(size_t players, uint64_t seed);
  /// Draws on until `pairs` were drawn in all, or there are no more.
  void draw(size_t pairs, Coalitions& coalitions);
  size_t drawn() const;
  /// Whether every pair of the game but that of nobody and everybody was drawn.
  bool exhausted() const;

 private:
  std::vector<PairStratum> strata_;
};

}  // namespace quern::explain
