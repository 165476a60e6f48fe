#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/progress.h"
#include "quern/explain/attribution.h"
#include "quern/explain/game.h"
#include "quern/explain/partition_tree.h"

namespace quern::explain {

enum class Method {
  kAuto,
  kExact,
  kKernel,
  kLeverage,
  kPermutation,
  kOwen,
  kStratified,
  kLime,  // no Shapley values: a linear model near the input
  // Along paths through what an input is embedded to: no games.
  kIntegratedGradients,
  kExpectedGradients,
  kGradient,
};
inline bool follows_gradients(Method method) { return method >= Method::kIntegratedGradients; }

/// By its name on the command line; a UsageError lists the names.
Method parse_method(std::string_view name);
std::string_view method_name(Method method);

struct EstimateOptions {
  Method method = Method::kAuto;
  uint64_t seed = 1;
  /// Sampling ends when half the 95 % interval of every player is at most this, in the units of
  /// the value. 0: when the evaluations are used up.
  double tolerance = 0;
  /// Of the game, at most; 0: usual_evaluations, or the least that the method takes; of a game of
  /// several cases by kPermutation eight pairs of walks in each.
  size_t max_evaluations = 0;
  /// How players group, for kOwen, which `auto` then takes; null: neighbours in their order.
  const PartitionTree* tree = nullptr;
  /// Players are regions of a picture, which kLime hides otherwise than words.
  bool picture = false;
  /// Is told how far long work is; null: nobody.
  Reporter* reporter = nullptr;
};

/// The method that `options` name, or the one that fits the game, and why.
struct Choice {
  Method method = Method::kExact;
  std::string reason;
};
Choice choose_method(size_t players, const EstimateOptions& options, size_t cases = 1);

/// The evaluations without which a method has nothing to say of so many players.
size_t least_evaluations(Method method, size_t players);

/// The Shapley values of a game, or the coefficients of LIME. Serial but for the game's own
/// threads, so that a seed gives the same bits at any number of threads. Throws an Error where the
/// game gives a value that is not finite, and a UsageError for an exact answer that is out of
/// reach, or where max_evaluations is below least_evaluations: nothing is asked then.
/// UsageError("other_method") for a method that follows gradients.
Attribution estimate(Game& game, const EstimateOptions& options);

}  // namespace quern::explain
