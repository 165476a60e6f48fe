#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quern::report {

/// Columns that a text takes on a terminal: Chinese, Japanese and Korean characters take two.
size_t display_width(std::string_view utf8);
/// Cut to so many columns, with an ellipsis where something is left out; line ends become spaces.
std::string fit_width(std::string_view utf8, size_t columns);

/// A quantity of either sign, with what to print beside it.
struct SignedBar {
  std::string label;
  double value = 0;
  std::string note;
};

/// One line a bar: the label, the number, a bar to the left of a common axis for what lowers and to
/// the right for what raises, the note.
std::string signed_bars(const std::vector<SignedBar>& bars, size_t label_columns = 32);

}  // namespace quern::report
