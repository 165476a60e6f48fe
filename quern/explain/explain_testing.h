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

using TestRow = std::vector<double>;
using TestModel = std::function<double(const TestRow&)>;

/// A model's answer to a row whose hidden columns take the values of background rows, each a case.
inline CasesGame masked_rows(TestModel model, TestRow row, std::vector<TestRow> background) {
  const size_t players = row.size(), cases = background.size();
  return {players, cases,
          [model = std::move(model), row = std::move(row), background = std::move(background)](
              std::span<const uint8_t> shown, size_t in_case) {
            TestRow mixed = background[in_case];
            for (size_t c = 0; c < mixed.size(); ++c) {
              if (shown[c] != 0) mixed[c] = row[c];
            }
            return model(mixed);
          }};
}

}  // namespace quern::explain
