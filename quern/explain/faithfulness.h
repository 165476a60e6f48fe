#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quern/explain/game.h"
#include "quern/metrics/interval.h"

namespace quern::explain {

/// Whether an order of players says what the model goes by: players are hidden from the full input
/// (deletion) or shown from the empty one (insertion) one after another, the most important first
/// (Petsiuk, Das & Saenko 2018), and the same with random orders.
struct Faithfulness {
  std::vector<double> deletion, insertion;  // (players + 1): the value after each step
  /// The mean height of each curve; a faithful order of raising players has low deletion and high
  /// insertion.
  double deletion_area = 0, insertion_area = 0;
  /// The mean of random orders with its 95 % interval.
  metrics::Interval random_deletion, random_insertion;
  /// Insertion less deletion, less the same of random orders, with the 95 % interval of the
  /// latter's mean: above zero where the order beats chance.
  metrics::Interval advantage;
  size_t evaluations = 0;
};

/// `order`: the players, those that raise the value most first. `orders` random ones (≥ 2) are
/// drawn from the seed.
Faithfulness faithfulness(Game& game, std::span<const size_t> order, uint64_t seed,
                          size_t orders = 20);

}  // namespace quern::explain
