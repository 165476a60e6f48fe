#pragma once

#include <string>
#include <vector>

namespace quern::report {

/// A piece of a text and how much it weighs.
struct WeighedText {
  std::string text;
  double weight = 0;
  std::string note;  // shown when the pointer rests on it
};

/// An HTML element: the text as it stands, each piece on a ground of red (raises) or blue (lowers)
/// whose strength is its share of the largest weight.
std::string coloured_text(const std::vector<WeighedText>& pieces);

}  // namespace quern::report
