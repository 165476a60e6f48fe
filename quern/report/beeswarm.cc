#include "quern/report/beeswarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "quern/report/html.h"
#include "quern/report/signed_colour.h"
#include "quern/report/svg.h"
#include "quern/report/text_width.h"

namespace quern::report {
namespace {

/// Blue for the low, red for the high, grey where there is no order.
std::string shade_colour(double shade) {
  if (std::isnan(shade)) return "#888888";
  const double at = std::clamp(shade, 0.0, 1.0);
  const auto mix = [at](size_t i) {
    return static_cast<int>(
        std::lround(kLoweringParts[i] + at * (kRaisingParts[i] - kLoweringParts[i])));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2));
}

}  // namespace

std::string to_svg(const Beeswarm& plot) {
  constexpr double kWidth = 760, kLeft = 200, kRight = 740, kTop = 10, kRow = 30, kRadius = 2.4;
  Range span{0, 0};
  for (const Beeswarm::Row& row : plot.rows)
    for (const Beeswarm::Dot& dot : row.dots) span.cover(dot.x);
  span.widen();
  const auto x = [&](double value) { return kLeft + (kRight - kLeft) * span.share(value); };
  const double bottom = kTop + kRow * static_cast<double>(plot.rows.size());
  std::string out = open_svg(kWidth, bottom + 40);
  for (const double tick : span.ticks(6)) {
    out += fmt::format(
        "<path d=\"M{0:.1f} {1} V{2}\" stroke=\"{3}\"/><text x=\"{0:.1f}\" y=\"{4}\" "
        "text-anchor=\"middle\" fill=\"#555\">{5:.6g}</text>",
        x(tick), kTop, bottom, tick == 0 ? "#888" : "#e6e6e6", bottom + 14, tick);
  }
  double y = kTop + kRow / 2;
  for (const Beeswarm::Row& row : plot.rows) {
    out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}<title>{}</title></text>",
                       kLeft - 8, y + 4, escape_html(fit_width(row.label, 27)),
                       escape_html(row.label));
    std::map<int, int> taken;  // dots in each place of the line
    for (const Beeswarm::Dot& dot : row.dots) {
      const int count = taken[static_cast<int>(x(dot.x) / kRadius)]++;
      const double side = count % 2 == 0 ? 1 : -1;
      const double away = std::min(kRow / 2 - kRadius, kRadius * ((count + 1) / 2));
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"/>", x(dot.x),
                         y + side * away, kRadius, shade_colour(dot.shade));
    }
    y += kRow;
  }
  return out + fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text></svg>",
                           (kLeft + kRight) / 2, bottom + 32, escape_html(plot.x_label));
}

std::string to_svg(const Dependence& plot) {
  constexpr double kWidth = 372, kHeight = 250, kLeft = 58, kRight = 360, kTop = 12, kBottom = 200;
  Range across{0, 0}, up{0, 0};
  if (plot.categories.empty() && !plot.dots.empty())
    across = {plot.dots.front().x, plot.dots.front().x};
  for (const Dependence::Dot& dot : plot.dots) {
    across.cover(dot.x);
    up.cover(dot.y);
  }
  if (!plot.categories.empty()) across = {-0.6, static_cast<double>(plot.categories.size()) - 0.4};
  across.widen();
  up.widen();
  const auto x = [&](double value) { return kLeft + (kRight - kLeft) * across.share(value); };
  const auto y = [&](double value) { return kBottom - (kBottom - kTop) * up.share(value); };
  std::string out = open_svg(kWidth, kHeight);
  for (const double tick : up.ticks(4)) {
    out += fmt::format(
        "<path d=\"M{0} {1:.1f} H{2}\" stroke=\"{3}\"/><text x=\"{4}\" y=\"{5:.1f}\" "
        "text-anchor=\"end\" fill=\"#555\">{6:.4g}</text>",
        kLeft, y(tick), kRight, tick == 0 ? "#888" : "#e6e6e6", kLeft - 4, y(tick) + 4, tick);
  }
  const auto mark = [&](double at, const std::string& label) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                       x(at), kBottom + 16, escape_html(label));
  };
  if (plot.categories.empty()) {
    for (const double tick : across.ticks(4)) mark(tick, fmt::format("{:.6g}", tick));
  } else {
    const size_t room = std::max<size_t>(3, 42 / plot.categories.size());
    for (size_t i = 0; i < plot.categories.size(); ++i)
      mark(static_cast<double>(i), fit_width(plot.categories[i], room));
  }
  for (size_t i = 0; i < plot.dots.size(); ++i) {
    // Dots of a category side by side, by the golden ratio.
    const double turn = std::fmod(static_cast<double>(i) * 0.6180339887, 1.0) - 0.5;
    const double at = plot.dots[i].x + (plot.categories.empty() ? 0 : 0.6 * turn);
    out += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\" fill=\"{}\" "
        "fill-opacity=\"0.7\"/>",
        x(at), y(plot.dots[i].y), kLowering);
  }
  return out + fmt::format(
                   "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text><text x=\"12\" "
                   "y=\"{}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {})\">{}</text>"
                   "</svg>",
                   (kLeft + kRight) / 2, kBottom + 36, escape_html(fit_width(plot.x_label, 44)),
                   (kTop + kBottom) / 2, (kTop + kBottom) / 2,
                   escape_html(fit_width(plot.y_label, 28)));
}

}  // namespace quern::report
