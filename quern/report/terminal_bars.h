#pragma once

#include <string>
#include <vector>

namespace quern::report {

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
