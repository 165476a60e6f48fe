#include "quern/explain/explanation_events.h"

#include <fmt/format.h>

#include "quern/explain/contributions.h"
#include "quern/formats/png.h"

namespace quern::explain {
namespace {

std::string markdown(const Explanation& e) {
  const report::Rows facts = {{"explained", e.target},
                              {"input", e.input},
                              {"base", fmt::format("{:.6g}", e.attribution.base)},
                              {"answer", fmt::format("{:.6g}", e.attribution.value)}};
  std::string text = report::markdown_table({"what", "says"}, facts);
  text += "\n" + report::markdown_table(contribution_header(e), contribution_rows(e));
  for (const std::string& line : sentences(e)) text += "\n" + line + "\n";
  return text;
}

}  // namespace

void write_events(formats::EventWriter& events, int64_t step, const Explanation& e) {
  events.text(kAttributionText, step, markdown(e));
  if (!e.picture.present()) return;
  const std::vector<uint8_t> heat = heat_pixels(e);
  const std::string png = formats::encode_png({e.picture.height, e.picture.width, 3, heat});
  events.images(kAttributionHeatMap, step, e.picture.height, e.picture.width, {&png, 1});
}

}  // namespace quern::explain
