// Shapley estimates of games given as tables of values; what bench/explain.py drives.
// Reads requests from standard input, each a line "METHOD PLAYERS EVALUATIONS SEED CASES" and, for
// each case, 2^PLAYERS values as float64 (player i in bit i of the index); prints a line of phi,
// then margins, for each.
#include <cstdio>
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quern/base/error.h"
#include "quern/explain/estimate.h"

namespace {

using namespace quern::explain;

/// The mean of cases whose values are given.
class GivenGame : public Game {
 public:
  GivenGame(size_t players, std::vector<double> values)
      : players_(players), values_(std::move(values)) {}
  size_t players() const override { return players_; }
  size_t cases() const override { return values_.size() >> players_; }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override {
    for (size_t i = 0; i < coalitions.count(); ++i) {
      values[i] = 0;
      for (size_t c = 0; c < cases(); ++c) values[i] += value(coalitions[i], c);
      values[i] /= static_cast<double>(cases());
    }
  }
  void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                      std::span<double> values) override {
    for (size_t i = 0; i < coalitions.count(); ++i) values[i] = value(coalitions[i], case_of[i]);
  }

 private:
  double value(std::span<const uint8_t> coalition, size_t in_case) const {
    size_t bits = 0;
    for (size_t i = 0; i < coalition.size(); ++i) bits |= size_t{coalition[i]} << i;
    return values_[(in_case << players_) + bits];
  }

  size_t players_;
  std::vector<double> values_;
};

int answer_all() {
  std::string method;
  size_t players = 0, evaluations = 0, cases = 0;
  uint64_t seed = 0;
  while (std::cin >> method >> players >> evaluations >> seed >> cases) {
    std::cin.get();
    std::vector<double> values(cases << players);
    std::cin.read(reinterpret_cast<char*>(values.data()),
                  static_cast<std::streamsize>(values.size() * sizeof(double)));
    GivenGame game(players, std::move(values));
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
