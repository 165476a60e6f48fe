#include "quern/explain/contributions.h"

#include <fmt/format.h>

#include "quern/report/heat_map.h"

namespace quern::explain {

std::vector<std::string> contribution_header(const Explanation& e) {
  return {"part", "value", "contribution, " + e.unit, "95 % interval"};
}

report::Rows contribution_rows(const Explanation& e) {
  report::Rows rows;
  for (const ExplainedPart* part : e.ranked()) {
    const auto player = static_cast<size_t>(part->player);
    const metrics::Interval interval = e.attribution.interval(player);
    rows.push_back({part->name, part->value, fmt::format("{:+.5g}", interval.value),
                    e.attribution.exact
                        ? "exact"
                        : fmt::format("{:+.4g} to {:+.4g}", interval.low, interval.high)});
  }
  return rows;
}

std::vector<uint8_t> heat_pixels(const Explanation& e) {
  const ExplainedPicture& p = e.picture;
  std::vector<double> sizes(e.attribution.phi.size(), 0);
  for (const int32_t player : p.players)
    if (player >= 0) ++sizes[static_cast<size_t>(player)];
  std::vector<double> weights;
  weights.reserve(p.players.size());
  for (const int32_t player : p.players) {
    const auto at = static_cast<size_t>(player);
    weights.push_back(player < 0 ? 0 : e.attribution.phi[at] / sizes[at]);
  }
  return report::heat_map({p.height, p.width, p.channels, p.pixels}, weights);
}

}  // namespace quern::explain
