#include "quern/report/terminal_bars.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/report/text_width.h"

namespace quern::report {
namespace {

std::string repeated(std::string_view text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace

std::string signed_bars(const std::vector<SignedBar>& bars, size_t label_columns) {
  constexpr size_t kHalf = 14;  // columns on either side
  double most = 0;
  size_t widest = 0;
  for (const SignedBar& bar : bars) {
    most = std::max(most, std::abs(bar.value));
    widest = std::max(widest, std::min(display_width(bar.label), label_columns));
  }
  std::string out;
  for (const SignedBar& bar : bars) {
    const std::string label = fit_width(bar.label, widest);
    const auto length = static_cast<size_t>(
        most > 0 ? std::lround(static_cast<double>(kHalf) * std::abs(bar.value) / most) : 0);
    const std::string block = repeated("█", length);
    const std::string space(kHalf - length, ' ');
    out += fmt::format("{}{} {:>+10.4g} {}│{} {}\n", label,
                       std::string(widest - display_width(label), ' '), bar.value,
                       bar.value < 0 ? space + block : std::string(kHalf, ' '),
                       bar.value < 0 ? std::string(kHalf, ' ') : block + space, bar.note);
  }
  return out;
}

}  // namespace quern::report
