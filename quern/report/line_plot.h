#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::report {

struct Point {
  double x = 0, y = 0;
};

struct Series {
  std::string name;
  std::vector<Point> points;
  bool dots = false;  // each point by itself, not joined
};

struct LinePlot {
  std::string title;
  std::string x_label, y_label;
  std::vector<Series> series;
  double marked_x = 0;  // a vertical line with `mark` beside it, where `mark` is not empty
  std::string mark;
};

/// A self-contained SVG element: axes with round ticks, one line (or cloud of dots) a series, a
/// legend. Points that are not finite are left out; long series are thinned to what can be seen.
std::string to_svg(const LinePlot& plot);

/// Round numbers that cover [low, high], about `count` of them (Heckbert 1990, "Nice numbers for
/// graph labels").
std::vector<double> nice_ticks(double low, double high, int count);

}  // namespace quern::report
