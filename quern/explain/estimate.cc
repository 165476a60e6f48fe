#include "quern/explain/estimate.h"

#include <fmt/format.h>

#include <array>

#include "quern/base/error.h"
#include "quern/explain/evaluator.h"
#include "quern/explain/exact.h"
#include "quern/explain/permutation.h"

namespace quern::explain {
namespace {

struct Named {
  Method method;
  std::string_view name;
};
constexpr std::array kMethods = {Named{Method::kAuto, "auto"}, Named{Method::kExact, "exact"},
                                 Named{Method::kPermutation, "permutation"}};

size_t budget(size_t players, const EstimateOptions& options) {
  return options.max_evaluations == 0 ? 2 * players + 2048 : options.max_evaluations;
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

Attribution run(Evaluator& evaluator, Method method, const EstimateOptions& options) {
  if (evaluator.players() < 2) return trivial(evaluator);
  return method == Method::kExact ? exact(evaluator) : permutation(evaluator, options);
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

Choice choose_method(size_t players, const EstimateOptions& options) {
  if (options.method != Method::kAuto) return {options.method, "asked for"};
  if (players <= kExactPlayers && (size_t{1} << players) <= budget(players, options)) {
    return {Method::kExact, fmt::format("{} players have {} coalitions: all of them are asked",
                                        players, size_t{1} << players)};
  }
  return {Method::kPermutation,
          fmt::format("{} players have too many coalitions to ask all of them", players)};
}

Attribution estimate(Game& game, const EstimateOptions& options) {
  const Choice choice = choose_method(game.players(), options);
  Evaluator evaluator(game, options.max_evaluations);
  Attribution result = run(evaluator, choice.method, options);
  result.method = method_name(choice.method);
  result.reason = choice.reason;
  result.seed = options.seed;
  return result;
}

}  // namespace quern::explain
