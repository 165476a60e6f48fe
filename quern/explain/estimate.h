#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/explain/attribution.h"
#include "quern/explain/game.h"
#include "quern/explain/partition_tree.h"

namespace quern::explain {

enum class Method { kAuto, kExact, kKernel, kLeverage, kPermutation, kOwen, kStratified };

/// By its name on the command line; a UsageError lists the names.
Method parse_method(std::string_view name);
std::string_view method_name(Method method);

struct EstimateOptions {
  Method method = Method::kAuto;
  uint64_t seed = 1;
  /// Sampling ends when half the 95 % interval of every player is at most this, in the units of
  /// the value. 0: when the evaluations are used up.
  double tolerance = 0;
  /// Of the game, at most; 0: 2 players + 2048. A method that needs more to say anything takes it
  /// and notes it.
  size_t max_evaluations = 0;
  /// How players group, for kOwen, which `auto` then takes; null: neighbours in their order.
  const PartitionTree* tree = nullptr;
};

/// The method that `options` name, or the one that fits the game, and why.
struct Choice {
  Method method = Method::kExact;
  std::string reason;
};
Choice choose_method(size_t players, const EstimateOptions& options);

/// The Shapley values of a game. Serial but for the game's own threads, so that a seed gives the
/// same bits at any number of threads. Throws an Error where the game gives a value that is not
/// finite, and a UsageError for an exact answer that is out of reach.
Attribution estimate(Game& game, const EstimateOptions& options);

}  // namespace quern::explain
