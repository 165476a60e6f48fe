#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

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

}  // namespace quern::explain
