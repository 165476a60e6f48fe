#include "quern/report/coloured_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/report/html.h"
#include "quern/report/signed_colour.h"

namespace quern::report {

std::string coloured_text(const std::vector<WeighedText>& pieces) {
  double most = 0;
  for (const WeighedText& piece : pieces) most = std::max(most, std::abs(piece.weight));
  std::string out =
      "<p style=\"font-size:1.15rem;line-height:2.1;white-space:pre-wrap;overflow-wrap:anywhere\">";
  for (const WeighedText& piece : pieces) {
    const double share = most > 0 ? piece.weight / most : 0;
    out += fmt::format(
        "<span title=\"{}\" style=\"background:{};color:{};padding:.15em 0;border-radius:.2em\">"
        "{}</span>",
        escape_html(piece.note), signed_colour_code(share),
        std::abs(share) > 0.75 ? "#fff" : "#222", escape_html(piece.text));
  }
  return out + "</p>\n";
}

}  // namespace quern::report
