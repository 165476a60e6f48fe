#pragma once

#include <string>
#include <vector>

namespace quern::report {

/// Many contributions a row of the plot, one dot each.
struct Beeswarm {
  struct Dot {
    double x = 0;
    double shade = 0;  // from 0 (low, blue) to 1 (high, red); NaN: grey
  };
  struct Row {
    std::string label;
    std::vector<Dot> dots;
  };
  std::string x_label;
  std::vector<Row> rows;
};

/// A self-contained SVG element: dots that would lie on one another are moved apart, upwards and
/// downwards in turn.
std::string to_svg(const Beeswarm& plot);

/// How a contribution depends on the value it belongs to.
struct Dependence {
  struct Dot {
    double x = 0, y = 0;  // x: a number, or the index of a category
  };
  std::string x_label, y_label;
  std::vector<std::string> categories;  // empty: x is a number
  std::vector<Dot> dots;
};
std::string to_svg(const Dependence& plot);

}  // namespace quern::report
