#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quern/graph/op.h"

// The cases that the op table is tested on: every op, odd extents, each optional input with and
// without. Test code only.
namespace quern::graph::testing {

struct InputSpec {
  enum class Fill : uint8_t {
    kAbsent,
    kNormal,        // standard normal, times `scale`
    kAwayFromZero,  // as kNormal, but at least 0.1 from 0: no kink within a finite difference
    kPositive,      // uniform in [0.5, 1.5)
    kIntegers,      // uniform in [low, high)
    kGiven,         // `integers`, or `floats`
  };
  Fill fill = Fill::kAbsent;
  TensorType type{DType::kBool, {}};
  float scale = 1;
  int32_t low = 0, high = 0;
  std::vector<int32_t> integers{};
  std::vector<float> floats{};
};

struct OpCase {
  OpCode op;
  std::string label;
  Attrs attrs;
  std::vector<InputSpec> inputs;
  float tolerance = 2e-5F;  // kernel against reference, relative to the largest value
};

/// Every case of every op.
std::vector<OpCase> op_cases();

}  // namespace quern::graph::testing
