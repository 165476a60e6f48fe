// Shapley estimates of games given as tables of values; what bench/explain.py drives.
// Reads requests from standard input, each a line "METHOD PLAYERS EVALUATIONS SEED CASES" and, for
// each case, 2^PLAYERS values as float64 (player i in bit i of the index); prints a line of phi,
// then margins, for each.
#include <cstdio>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "quern/base/error.h"
#include "quern/explain/estimate.h"

namespace {

using namespace quern::explain;

int answer_all() {
  std::string method;
  size_t players = 0, evaluations = 0, cases = 0;
  uint64_t seed = 0;
  while (std::cin >> method >> players >> evaluations >> seed >> cases) {
    std::cin.get();
    std::vector<double> values(cases << players);
    std::cin.read(reinterpret_cast<char*>(values.data()),
                  static_cast<std::streamsize>(values.size() * sizeof(double)));
    CasesGame game(players, cases, [&](std::span<const uint8_t> coalition, size_t in_case) {
      size_t bits = 0;
      for (size_t i = 0; i < coalition.size(); ++i) bits |= size_t{coalition[i]} << i;
      return values[(in_case << players) + bits];
    });
    const Attribution a = estimate(
        game, {.method = parse_method(method), .seed = seed, .max_evaluations = evaluations});
    for (const auto* list : {&a.phi, &a.margins}) {
      for (const double x : *list) std::printf("%.17g ", x);
    }
    std::printf("%zu\n", a.evaluations);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main() {
  try {
    return answer_all();
  } catch (const quern::Error& error) {
    std::fprintf(stderr, "explain_games: %s\n", error.what());
    return 1;
  }
}
