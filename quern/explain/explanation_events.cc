#include "quern/explain/explanation_events.h"

#include <fmt/format.h>

#include "quern/explain/contributions.h"
#include "quern/formats/png.h"

namespace quern::explain {
namespace {

std::string markdown(const report::Rows& facts, const std::vector<std::string>& header,
                     const report::Rows& rows, const std::vector<std::string>& sentences) {
  std::string text = report::markdown_table({"what", "says"}, facts);
  text += "\n" + report::markdown_table(header, rows);
  for (const std::string& line : sentences) text += "\n" + line + "\n";
  return text;
}

}  // namespace

void write_events(formats::EventWriter& events, int64_t step, const Explanation& e) {
  const report::Rows facts = {{"explained", e.target},
                              {"input", e.input},
                              {"base", fmt::format("{:.6g}", e.attribution.base)},
                              {"answer", fmt::format("{:.6g}", e.attribution.value)}};
  events.text(kAttributionText, step,
              markdown(facts, contribution_header(e), contribution_rows(e), sentences(e)));
  if (!e.picture.present()) return;
  const std::vector<uint8_t> heat = heat_pixels(e);
  const std::string png = formats::encode_png({e.picture.height, e.picture.width, 3, heat});
  events.images(kAttributionHeatMap, step, e.picture.height, e.picture.width, {&png, 1});
}

void write_events(formats::EventWriter& events, int64_t step, const GlobalExplanation& g) {
  const report::Rows facts = {
      {"explained", g.target}, {"input", g.input}, {"rows", fmt::format("{}", g.rows)}};
  events.text(kImportanceText, step,
              markdown(facts, importance_header(g), importance_rows(g), sentences(g)));
}

}  // namespace quern::explain
