#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "quern/explain/game.h"

namespace quern::explain {

/// A game of few players given by a function of the bits of its coalition (player i in bit i).
template <typename Function>
FunctionGame bit_game(size_t players, Function function) {
  return {players, [function](std::span<const uint8_t> coalition) {
            size_t bits = 0;
            for (size_t i = 0; i < coalition.size(); ++i) bits |= size_t{coalition[i]} << i;
            return static_cast<double>(function(bits));
          }};
}

/// A model's answer to a row whose hidden columns take the values of background rows, each a case.
class MaskedRows : public Game {
 public:
  using Row = std::vector<double>;
  using Model = std::function<double(const Row&)>;
  MaskedRows(Model model, Row row, std::vector<Row> background)
      : model_(std::move(model)), row_(std::move(row)), background_(std::move(background)) {}

  size_t players() const override { return row_.size(); }
  size_t cases() const override { return background_.size(); }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override {
    for (size_t i = 0; i < coalitions.count(); ++i) {
      values[i] = 0;
      for (size_t b = 0; b < cases(); ++b) values[i] += answer(coalitions[i], b);
      values[i] /= static_cast<double>(cases());
    }
  }
  void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                      std::span<double> values) override {
    for (size_t i = 0; i < coalitions.count(); ++i) values[i] = answer(coalitions[i], case_of[i]);
  }

 private:
  double answer(std::span<const uint8_t> shown, size_t background) const {
    Row mixed = background_[background];
    for (size_t c = 0; c < mixed.size(); ++c) {
      if (shown[c] != 0) mixed[c] = row_[c];
    }
    return model_(mixed);
  }

  Model model_;
  Row row_;
  std::vector<Row> background_;
};

}  // namespace quern::explain
