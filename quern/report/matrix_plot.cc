#include "quern/report/matrix_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "quern/base/text_encoding.h"
#include "quern/report/html.h"

namespace quern::report {
namespace {

constexpr double kLeft = 130, kTop = 46, kFoot = 90, kRight = 20, kWidth = 760;
constexpr size_t kMostCharacters = 16;

/// The first characters, where a name is long.
std::string shortened(const std::string& name) {
  std::string_view rest = name;
  for (size_t i = 0; i < kMostCharacters && !rest.empty(); ++i)
    rest.remove_prefix(decode_utf8(rest).length);
  return rest.empty() ? name : name.substr(0, name.size() - rest.size()) + "…";
}

std::string text(double x, double y, std::string_view anchor, std::string_view more,
                 std::string_view words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, more, escape_html(words));
}

}  // namespace

std::string to_svg(const MatrixPlot& plot) {
  const size_t count = plot.names.size();
  if (plot.counts.size() != count * count)
    throw std::invalid_argument("a matrix plot takes names × names counts");
  const double side =
      std::min(56.0, (kWidth - kLeft - kRight) / static_cast<double>(std::max<size_t>(1, count)));
  const double end = side * static_cast<double>(count);
  const double height = kTop + end + kFoot;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" role=\"img\" "
      "aria-label=\"{2}\" font-family=\"sans-serif\" font-size=\"12\">\n",
      kWidth, height, escape_html(plot.title));
  out += text(8, 20, "start", " font-weight=\"bold\" font-size=\"14\"", plot.title);
  out += text(kLeft, kTop - 8, "start", " fill=\"#555\"", plot.column_label);
  out += text(kLeft - 8, kTop - 8, "end", " fill=\"#555\"", plot.row_label);
  for (size_t i = 0; i < count; ++i) {
    const double y = kTop + side * static_cast<double>(i);
    uint64_t row = 0;
    for (size_t j = 0; j < count; ++j) row += plot.counts[i * count + j];
    out += text(kLeft - 8, y + side / 2 + 4, "end", "", shortened(plot.names[i]));
    for (size_t j = 0; j < count; ++j) {
      const double x = kLeft + side * static_cast<double>(j);
      const uint64_t cell = plot.counts[i * count + j];
      const double share = row == 0 ? 0 : static_cast<double>(cell) / static_cast<double>(row);
      out += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\" "
          "fill-opacity=\"{:.3f}\" stroke=\"#ddd\"><title>{} → {}: {} ({:.1f} %)</title></rect>\n",
          x, y, side, side, i == j ? "#0072b2" : "#d55e00", share, escape_html(plot.names[i]),
          escape_html(plot.names[j]), cell, 100 * share);
      if (cell > 0 && side >= 24) {
        out += text(x + side / 2, y + side / 2 + 4, "middle", share > 0.5 ? " fill=\"#fff\"" : "",
                    std::to_string(cell));
      }
    }
  }
  for (size_t j = 0; j < count; ++j) {
    const double x = kLeft + side * (static_cast<double>(j) + 0.5), y = kTop + end + 14;
    out += text(x, y, "end", fmt::format(" transform=\"rotate(-40 {:.1f} {:.1f})\"", x, y),
                shortened(plot.names[j]));
  }
  return out + "</svg>\n";
}

}  // namespace quern::report
