#include "quern/explain/estimate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "quern/base/error.h"
#include "quern/explain/evaluator.h"
#include "quern/explain/exact.h"
#include "quern/explain/kernel_shap.h"
#include "quern/explain/leverage.h"
#include "quern/explain/lime.h"
#include "quern/explain/owen.h"
#include "quern/explain/permutation.h"
#include "quern/explain/stratified.h"

namespace quern::explain {
namespace {

struct Named {
  Method method;
  std::string_view name;
};
constexpr std::array kMethods = {Named{Method::kAuto, "auto"},
                                 Named{Method::kExact, "exact"},
                                 Named{Method::kKernel, "kernel"},
                                 Named{Method::kLeverage, "leverage"},
                                 Named{Method::kPermutation, "permutation"},
                                 Named{Method::kOwen, "owen"},
                                 Named{Method::kStratified, "stratified"},
                                 Named{Method::kLime, "lime"},
                                 Named{Method::kIntegratedGradients, "ig"},
                                 Named{Method::kExpectedGradients, "eg"},
                                 Named{Method::kGradient, "gradient"}};

// Cases from which orders of their own say more of a game than a regression on coalitions does.
constexpr size_t kManyCases = 8;

size_t budget(Method method, size_t players, size_t cases, const EstimateOptions& options) {
  constexpr size_t kRounds = 8;
  if (method == Method::kExact && players <= kExactPlayers) return size_t{1} << players;
  if (options.max_evaluations > 0) return options.max_evaluations;
  if (method == Method::kPermutation && cases > 1 && options.tolerance == 0)
    return 2 + kRounds * 2 * (players - 1);
  return usual_evaluations(players);
}

Attribution exact(Evaluator& evaluator) {
  const std::vector<double> values = all_values(evaluator);
  Attribution result = evaluator.start();
  result.phi = shapley(values, evaluator.players());
  result.exact = true;
  return result;
}

/// Of a game that takes no sampling: nobody, or one player, who contributes everything.
Attribution trivial(const Evaluator& evaluator) {
  Attribution result = evaluator.start();
  for (double& phi : result.phi) phi = evaluator.value() - evaluator.base();
  result.exact = true;
  return result;
}

Attribution lime(Game& game, const EstimateOptions& options) {
  const LimeOptions asked = lime_options(options);
  return lime_attribution(options.picture ? lime_picture(game, asked) : lime_text(game, asked),
                          asked);
}

Attribution run(Evaluator& evaluator, Method method, const EstimateOptions& options) {
  if (evaluator.players() < 2) return trivial(evaluator);
  switch (method) {
    case Method::kExact:
      return exact(evaluator);
    case Method::kKernel:
      return kernel_shap(evaluator, options);
    case Method::kPermutation:
      return permutation(evaluator, options);
    case Method::kOwen:
      return options.tree != nullptr ? owen(evaluator, *options.tree)
                                     : owen(evaluator, sequence_tree(evaluator.players()));
    case Method::kStratified:
      return stratified(evaluator, options);
    case Method::kAuto:
    case Method::kLeverage:
    case Method::kLime:
    case Method::kIntegratedGradients:
    case Method::kExpectedGradients:
    case Method::kGradient:
      break;
  }
  return leverage(evaluator, options);
}

}  // namespace

Method parse_method(std::string_view name) {
  std::string known;
  for (const Named& one : kMethods) {
    if (one.name == name) return one.method;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", one.name);
  }
  throw UsageError("unknown_method", fmt::format("'{}' is no method of explanation", name),
                   fmt::format("the methods are: {}", known));
}

std::string_view method_name(Method method) {
  for (const Named& one : kMethods) {
    if (one.method == method) return one.name;
  }
  return "";
}

Choice choose_method(size_t players, const EstimateOptions& options, size_t cases) {
  if (options.method != Method::kAuto) return {options.method, "asked for"};
  if (players <= kExactPlayers &&
      (size_t{1} << players) <= budget(Method::kAuto, players, cases, options)) {
    return {Method::kExact, fmt::format("{} players have {} coalitions: all of them are asked",
                                        players, size_t{1} << players)};
  }
  if (options.tree != nullptr) {
    return {Method::kOwen, fmt::format("{} players in groups: a group joins as one", players)};
  }
  if (cases >= kManyCases && budget(Method::kPermutation, players, cases, options) >=
                                 least_evaluations(Method::kPermutation, players)) {
    return {Method::kPermutation,
            fmt::format("{} players have too many coalitions to ask all of them; each of {} "
                        "background rows walks orders of its own",
                        players, cases)};
  }
  if (players <= kLeveragePlayers) {
    return {Method::kLeverage,
            fmt::format("{} players have too many coalitions to ask all of them; a regression "
                        "says most by few",
                        players)};
  }
  return {Method::kPermutation,
          fmt::format("{} players are too many for a regression on coalitions", players)};
}

size_t least_evaluations(Method method, size_t players) {
  if (players < 2) return players + 1;
  const size_t all =
      players <= kExactPlayers ? size_t{1} << players : std::numeric_limits<size_t>::max();
  switch (method) {
    case Method::kAuto:
    case Method::kExact:
      return all;
    case Method::kKernel:
    case Method::kLeverage:  // a pair of complements more than players, and the ends
      return std::min(all, 2 * (players + 1) + 2);
    case Method::kPermutation:  // two walks, there and back
      return 4 * (players - 1) + 2;
    case Method::kStratified:  // two draws of each size, and the sizes that have one coalition
      return 4 * players * (players - 2) + 2 * players + 2;
    case Method::kLime:
      return players + 2;
    case Method::kOwen:
    case Method::kIntegratedGradients:
    case Method::kExpectedGradients:
    case Method::kGradient:
      break;
  }
  return 2;
}

Attribution estimate(Game& game, const EstimateOptions& options) {
  if (follows_gradients(options.method)) {
    throw UsageError("other_method",
                     fmt::format("--method {} follows gradients, and the parts of this input are "
                                 "there or not: nothing lies between",
                                 method_name(options.method)),
                     "leave --method out, or name another");
  }
  const Choice choice = choose_method(game.players(), options, game.cases());
  const size_t least = least_evaluations(choice.method, game.players());
  if (options.max_evaluations > 0 && options.max_evaluations < least &&
      !(choice.method == Method::kExact && game.players() > kExactPlayers)) {
    throw UsageError(
        "too_few_evaluations",
        fmt::format("--max-evals {}: method '{}' takes at least {} evaluations for {} parts",
                    options.max_evaluations, method_name(choice.method), least, game.players()),
        choice.method == Method::kExact
            ? "allow so many, or leave --method out: sampling takes as many as it may"
            : fmt::format("give --max-evals {} or more", least));
  }
  Attribution result;
  if (choice.method == Method::kLime && game.players() > 0) {
    result = lime(game, options);
  } else {
    Evaluator evaluator(game, budget(choice.method, game.players(), game.cases(), options),
                        options.reporter);
    result = run(evaluator, choice.method, options);
  }
  result.method = method_name(choice.method);
  result.reason = choice.reason;
  result.seed = options.seed;
  return result;
}

}  // namespace quern::explain
