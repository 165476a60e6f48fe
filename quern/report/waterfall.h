#pragma once

#include <string>
#include <vector>

namespace quern::report {

/// How steps lead from one number to another.
struct Waterfall {
  struct Step {
    std::string label;
    double change = 0;
    double margin = 0;  // half the 95 % interval of the change; 0: none drawn
  };
  std::string base_label, value_label;
  double base = 0, value = 0;
  std::vector<Step> steps;  // from top to bottom, starting at the base
};

/// A self-contained SVG element: one row a step, red where it raises, blue where it lowers.
std::string to_svg(const Waterfall& plot);

}  // namespace quern::report
