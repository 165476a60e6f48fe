#include "quern/report/bar_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/report/html.h"

namespace quern::report {

std::string bars_to_svg(const std::string& title, const std::vector<Bar>& bars) {
  constexpr double kWidth = 320, kHeight = 120, kLeft = 8, kTop = 22, kFoot = 18;
  const double inside = kHeight - kTop - kFoot;
  const auto size_of = [](const Bar& bar) {
    return std::isfinite(bar.value) ? std::max(0.0, bar.value) : 0.0;
  };
  double most = 0;
  for (const Bar& bar : bars) most = std::max(most, size_of(bar));
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" role=\"img\" font-family=\"sans-serif\" font-size=\"11\">"
      "<text x=\"{2}\" y=\"14\" font-weight=\"bold\">{3}</text>",
      kWidth, kHeight, kLeft, escape_html(title));
  out += fmt::format("<text x=\"{}\" y=\"14\" text-anchor=\"end\" fill=\"#555\">{:.6g}</text>",
                     kWidth - kLeft, most);
  const double step = (kWidth - 2 * kLeft) / static_cast<double>(std::max<size_t>(1, bars.size()));
  for (size_t i = 0; i < bars.size(); ++i) {
    const double height = most > 0 ? inside * size_of(bars[i]) / most : 0;
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#3567a6\">"
        "<title>{}: {:.6g}</title></rect>",
        kLeft + step * static_cast<double>(i), kTop + inside - height, std::max(1.0, step - 1),
        height, escape_html(bars[i].label), size_of(bars[i]));
  }
  if (!bars.empty()) {
    out += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"#555\">{}</text>", kLeft, kHeight - 5,
                       escape_html(bars.front().label));
    if (bars.size() > 1) {
      out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
                         kWidth - kLeft, kHeight - 5, escape_html(bars.back().label));
    }
  }
  return out + "</svg>";
}

}  // namespace quern::report
