#include "quern/report/waterfall.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/report/html.h"
#include "quern/report/signed_colour.h"
#include "quern/report/svg.h"
#include "quern/report/text_width.h"

namespace quern::report {
namespace {

constexpr double kWidth = 760, kLeft = 270, kRight = 690, kRow = 24, kTop = 30;

class Drawing {
 public:
  explicit Drawing(const Waterfall& plot) : plot_(plot) {
    range_ = {std::min(plot.base, plot.value), std::max(plot.base, plot.value)};
    double at = plot.base;
    for (const Waterfall::Step& step : plot.steps) {
      at += step.change;
      range_.cover(at - step.margin);
      range_.cover(at + step.margin);
    }
    range_.widen();
  }

  std::string run() {
    const double height = kTop + kRow * (static_cast<double>(plot_.steps.size()) + 2) + 24;
    out_ = open_svg(kWidth, height);
    axis(height);
    double y = kTop;
    end(plot_.base_label, plot_.base, y);
    double at = plot_.base;
    for (const Waterfall::Step& step : plot_.steps) {
      y += kRow;
      row(step, at, y);
      at += step.change;
    }
    end(plot_.value_label, plot_.value, y + kRow);
    return out_ + "</svg>";
  }

 private:
  double x(double value) const { return kLeft + (kRight - kLeft) * range_.share(value); }

  void axis(double height) {
    for (const double tick : range_.ticks(5)) {
      out_ += fmt::format(
          "<path d=\"M{0:.1f} {1} V{2}\" stroke=\"#e2e2e2\"/><text x=\"{0:.1f}\" y=\"{3}\" "
          "text-anchor=\"middle\" fill=\"#555\">{4:.6g}</text>",
          x(tick), kTop - 12, height - 20, height - 6, tick);
    }
  }

  void label(const std::string& text, double y, std::string_view weight) {
    out_ += fmt::format(
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\" font-weight=\"{}\">{}<title>{}</title>"
        "</text>",
        kLeft - 8, y + 4, weight, escape_html(fit_width(text, 38)), escape_html(text));
  }

  void end(const std::string& text, double value, double y) {
    label(text, y, "bold");
    out_ += fmt::format(
        "<circle cx=\"{0:.1f}\" cy=\"{1:.1f}\" r=\"4\" fill=\"#222\"/><text x=\"{2:.1f}\" "
        "y=\"{3:.1f}\" font-weight=\"bold\">{4:.4g}</text>",
        x(value), y, x(value) + 8, y + 4, value);
  }

  void row(const Waterfall::Step& step, double from, double y) {
    const double to = from + step.change;
    label(step.label, y, "normal");
    out_ += fmt::format("<path d=\"M{0:.1f} {1:.1f} v{2}\" stroke=\"#999\"/>", x(from),
                        y - kRow + 8, kRow - 8);
    out_ += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"16\" fill=\"{}\">"
        "<title>{}: {:+.6g} ± {:.2g}</title></rect>",
        x(std::min(from, to)), y - 8, std::max(1.0, x(std::max(from, to)) - x(std::min(from, to))),
        step.change < 0 ? kLowering : kRaising, escape_html(step.label), step.change, step.margin);
    if (step.margin > 0) {
      out_ +=
          fmt::format("<path d=\"M{:.1f} {:.1f} H{:.1f}\" stroke=\"#222\" stroke-width=\"1.5\"/>",
                      x(to - step.margin), y, x(to + step.margin));
    }
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{:+.4g}</text>",
                        x(std::max(from, to) + step.margin) + 6, y + 4, step.change);
  }

  const Waterfall& plot_;
  Range range_;
  std::string out_;
};

}  // namespace

std::string to_svg(const Waterfall& plot) { return Drawing(plot).run(); }

}  // namespace quern::report
