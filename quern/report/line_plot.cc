#include "quern/report/line_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quern/report/html.h"

namespace quern::report {
namespace {

constexpr double kWidth = 760, kHeight = 340;
constexpr double kLeft = 76, kRight = 20, kTop = 34, kBottom = 46;
constexpr size_t kMostPoints = 1500;
// Okabe & Ito's palette: told apart with any colour vision.
constexpr std::array<std::string_view, 6> kColours = {"#0072b2", "#d55e00", "#009e73",
                                                      "#cc79a7", "#e69f00", "#56b4e9"};

struct Range {
  double low = std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::lowest();
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void settle() {
    if (low > high) low = 0, high = 1;
    if (low == high) low -= 0.5, high += 0.5;
  }
};

bool is_finite(const Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

class Canvas {
 public:
  explicit Canvas(const LinePlot& plot) : plot_(plot) {
    for (const Series& series : plot.series) {
      for (const Point& point : series.points) {
        if (!is_finite(point)) continue;
        x_.take(point.x);
        y_.take(point.y);
      }
    }
    x_.settle();
    y_.settle();
  }

  std::string draw() {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" "
        "aria-label=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n",
        kWidth, kHeight, escape_html(plot_.title));
    text(kLeft, 20, plot_.title, "start", " font-weight=\"bold\" font-size=\"14\"");
    axes();
    for (size_t i = 0; i < plot_.series.size(); ++i) line(i);
    legend();
    if (!plot_.mark.empty()) mark();
    return out_ + "</svg>\n";
  }

 private:
  double px(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double py(double y) const {
    return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  void text(double x, double y, std::string_view words, std::string_view anchor,
            std::string_view more = "") {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                        anchor, more, escape_html(words));
  }
  void stroke(double x1, double y1, double x2, double y2, std::string_view style) {
    out_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1,
                        y1, x2, y2, style);
  }

  void axes() {
    for (const double tick : nice_ticks(y_.low, y_.high, 6)) {
      stroke(kLeft, py(tick), kWidth - kRight, py(tick), "stroke=\"#ddd\"");
      text(kLeft - 6, py(tick) + 4, fmt::format("{:g}", tick), "end");
    }
    for (const double tick : nice_ticks(x_.low, x_.high, 8)) {
      stroke(px(tick), kHeight - kBottom, px(tick), kHeight - kBottom + 5, "stroke=\"#888\"");
      text(px(tick), kHeight - kBottom + 18, fmt::format("{:g}", tick), "middle");
    }
    stroke(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "stroke=\"#888\"");
    text((kLeft + kWidth - kRight) / 2, kHeight - 10, plot_.x_label, "middle");
    text(14, (kTop + kHeight - kBottom) / 2, plot_.y_label, "middle",
         fmt::format(" transform=\"rotate(-90 14 {:.1f})\"", (kTop + kHeight - kBottom) / 2));
  }

  void line(size_t index) {
    const Series& series = plot_.series[index];
    const std::string_view colour = kColours[index % kColours.size()];
    // A line through one point would show nothing.
    const bool alone = std::ranges::count_if(series.points, is_finite) == 1;
    if (series.dots || alone) {
      dots(series, colour, alone ? 4 : 2, alone ? 1 : 0.5);
      return;
    }
    std::string path;
    for (const Point& point : shown(series))
      path += fmt::format("{:.1f},{:.1f} ", px(point.x), py(point.y));
    out_ +=
        fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" points=\"{}\"/>\n",
                    colour, path);
  }

  void dots(const Series& series, std::string_view colour, int radius, double opacity) {
    out_ += fmt::format("<g fill=\"{}\" fill-opacity=\"{}\">\n", colour, opacity);
    for (const Point& point : shown(series)) {
      out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"/>\n", px(point.x),
                          py(point.y), radius);
    }
    out_ += "</g>\n";
  }

  /// The finite points, thinned to what can be seen.
  static std::vector<Point> shown(const Series& series) {
    const size_t stride = series.points.size() / kMostPoints + 1;
    std::vector<Point> out;
    for (size_t i = 0; i < series.points.size(); i += stride)
      if (is_finite(series.points[i])) out.push_back(series.points[i]);
    return out;
  }

  void legend() {
    double x = kWidth - kRight;
    for (size_t i = plot_.series.size(); i-- > 0;) {
      const std::string& name = plot_.series[i].name;
      if (name.empty()) continue;  // the title says what it is
      text(x, 20, name, "end");
      x -= 7.0 * static_cast<double>(name.size()) + 8;
      stroke(x - 18, 16, x, 16,
             fmt::format("stroke=\"{}\" stroke-width=\"3\"", kColours[i % kColours.size()]));
      x -= 30;
    }
  }

  void mark() {
    const double x = px(std::clamp(plot_.marked_x, x_.low, x_.high));
    stroke(x, kTop, x, kHeight - kBottom, "stroke=\"#888\" stroke-dasharray=\"4 3\"");
    const bool right = x > kWidth * 0.7;
    text(right ? x - 4 : x + 4, kTop + 12, plot_.mark, right ? "end" : "start");
  }

  const LinePlot& plot_;
  Range x_, y_;
  std::string out_;
};

}  // namespace

std::vector<double> nice_ticks(double low, double high, int count) {
  const double raw = (high - low) / std::max(count, 1);
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double fraction = raw / power;
  const double step = power * (fraction < 1.5 ? 1 : fraction < 3 ? 2 : fraction < 7 ? 5 : 10);
  std::vector<double> ticks;
  for (double i = std::ceil(low / step); i * step <= high * (1 + 1e-12); ++i) {
    ticks.push_back(i * step);
    if (ticks.size() > 100) break;
  }
  return ticks;
}

std::string to_svg(const LinePlot& plot) { return Canvas(plot).draw(); }

}  // namespace quern::report
