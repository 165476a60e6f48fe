#include "quern/explain/explanation_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/explain/contributions.h"
#include "quern/formats/png.h"
#include "quern/report/coloured_text.h"
#include "quern/report/html.h"
#include "quern/report/line_plot.h"
#include "quern/report/waterfall.h"

namespace quern::explain {
namespace {

constexpr size_t kSteps = 16;  // of a waterfall; weaker ones are summed

double margin_of(const Explanation& e, const ExplainedPart& part) {
  return part.player < 0 ? 0 : e.attribution.margins[static_cast<size_t>(part.player)];
}

std::string waterfall(const Explanation& e) {
  report::Waterfall plot;
  plot.base_label = "base";
  plot.value_label = "answer";
  plot.base = e.attribution.base;
  plot.value = e.attribution.value;
  const auto ranked = e.ranked();
  double rest = 0;
  for (size_t i = 0; i < ranked.size(); ++i) {
    if (i < kSteps || ranked.size() == kSteps + 1) {
      plot.steps.push_back({ranked[i]->label(), e.phi(*ranked[i]), margin_of(e, *ranked[i])});
    } else {
      rest += e.phi(*ranked[i]);
    }
  }
  if (ranked.size() > plot.steps.size()) {
    plot.steps.push_back(
        {fmt::format("{} weaker parts", ranked.size() - plot.steps.size()), rest, 0});
  }
  return report::to_svg(plot);
}

std::string text_of(const Explanation& e) {
  std::vector<report::WeighedText> pieces;
  for (const ExplainedPart& part : e.parts) {
    if (part.kind != "word" && part.kind != "special") continue;
    pieces.push_back({part.name, e.phi(part),
                      part.player < 0
                          ? "not looked at: 0"
                          : fmt::format("{:+.4g} ± {:.2g}", e.phi(part), margin_of(e, part))});
  }
  if (!pieces.empty() && e.task == "generate") pieces.push_back({" ▸ " + e.answer, 0, "explained"});
  return pieces.empty() ? "" : report::coloured_text(pieces);
}

std::vector<report::PictureTile> picture_tiles(const Explanation& e) {
  const ExplainedPicture& p = e.picture;
  const std::vector<uint8_t> heat = heat_pixels(e);
  const auto uri = [&p](std::span<const uint8_t> pixels, int64_t channels) {
    return formats::png_data_uri({p.height, p.width, channels, pixels});
  };
  return {{uri(p.pixels, p.channels), "as the model takes it"},
          {uri(heat, 3), "red raises, blue lowers"}};
}

void add_reasons(report::HtmlPage& page, const ReasonReport& reasons) {
  report::Rows rows;
  for (const ReasonReport::Reason& reason : reasons.reasons) {
    rows.push_back({reason.code, reason.text, fmt::format("{} = {}", reason.column, reason.value),
                    reason.side, fmt::format("{:+.3g}", reason.phi),
                    fmt::format("{:+.3g}", reason.effect)});
  }
  page.table({"code", "reason", "value", "beside the reference", "contribution", "alone"}, rows);
  if (reasons.withheld.empty()) return;
  report::Rows passed;
  for (const ReasonReport::Withheld& one : reasons.withheld) {
    passed.push_back(
        {fmt::format("{} = {}", one.column, one.value), fmt::format("{:+.3g}", one.phi), one.why});
  }
  page.paragraph("Passed over:");
  page.table({"value", "contribution", "why"}, passed);
}

void add_interactions(report::HtmlPage& page, const Explanation& e) {
  page.paragraph(fmt::format(
      "What two parts give together beyond what each gives alone (Shapley interaction index, {}; "
      "{} evaluations). The {} strongest of {} pairs.",
      e.interactions->exact ? "exact" : "sampled", e.interactions->evaluations,
      std::min(e.interactions_shown, e.interactions->players * (e.interactions->players - 1) / 2),
      e.interactions->players * (e.interactions->players - 1) / 2));
  report::Rows rows;
  for (const ShownInteraction& one : shown_interactions(e)) {
    rows.push_back(
        {one.a, one.b, fmt::format("{:+.5g}", one.value),
         e.interactions->exact
             ? "exact"
             : fmt::format("{:+.4g} to {:+.4g}", one.value - one.margin, one.value + one.margin)});
  }
  page.table({"part", "with", "interaction, " + e.unit, "95 % interval"}, rows);
}

void add_influence(report::HtmlPage& page, const InfluenceReport& influence) {
  page.paragraph(influence_line(influence));
  report::Rows rows;
  for (const auto* side : {&influence.raising, &influence.lowering})
    for (const InfluenceReport::Row& row : *side)
      rows.push_back({row.where, row.answer, fmt::format("{:+.4g}", row.influence)});
  page.table({"training row", "its answer", "raises (+) or lowers (-)"}, rows);
}

report::Series curve(std::string name, std::span<const double> values) {
  report::Series series{std::move(name), {}};
  const auto last = static_cast<double>(std::max<size_t>(2, values.size()) - 1);
  for (size_t i = 0; i < values.size(); ++i)
    series.points.push_back({100 * static_cast<double>(i) / last, values[i]});
  return series;
}

void add_audit(report::HtmlPage& page, const Audit& audit) {
  for (const std::string& line : audit_lines(audit)) page.paragraph(line);
  report::LinePlot plot;
  plot.title = "Hiding and showing parts";
  plot.x_label = "% of the parts";
  plot.y_label = "answer";
  plot.series = {curve("hidden one by one", audit.faithfulness.deletion),
                 curve("shown one by one", audit.faithfulness.insertion)};
  page.svg(report::to_svg(plot));
}

}  // namespace

std::string to_html(const Explanation& e) {
  report::HtmlPage page("Why: " + e.target);
  page.paragraph(e.input);
  if (e.reasons.asked) {
    page.heading("Principal reasons");
    add_reasons(page, e.reasons);
  }
  if (e.counterfactual.asked) {
    page.heading("What would change the decision");
    page.paragraph(counterfactual_line(e.counterfactual));
  }
  page.heading("From the base to the answer");
  page.svg(waterfall(e));
  page.paragraph("Red raises, blue lowers; a black line is the 95 % interval.");
  if (const std::string text = text_of(e); !text.empty()) {
    page.heading("The text");
    page.svg(text);
  }
  if (e.picture.present()) {
    page.heading("The picture");
    page.pictures(picture_tiles(e), 336);
  }
  page.heading("How sure this is");
  for (const std::string& line : sentences(e)) page.paragraph(line);
  if (e.audit.asked) add_audit(page, e.audit);
  if (e.attention) {
    page.heading("Where attention flows from");
    page.paragraph(attention_line(e));
  }
  if (e.interactions) {
    page.heading("What parts give together");
    add_interactions(page, e);
  }
  if (e.influence.rows > 0) {
    page.heading("The training rows that shaped it");
    add_influence(page, e.influence);
  }
  page.heading("Every part");
  page.table(contribution_header(e), contribution_rows(e));
  return page.str();
}

std::string to_html(const std::vector<Explanation>& list) {
  constexpr size_t kReasons = 4;
  report::HtmlPage page("Why these items");
  if (list.empty()) return page.str();
  page.paragraph(list.front().input);
  page.heading("Each item with its reasons");
  report::Rows rows;
  for (const Explanation& e : list) {
    std::string raising, lowering;
    const auto ranked = e.ranked();
    for (size_t i = 0; i < std::min(kReasons, ranked.size()); ++i) {
      std::string& side = e.phi(*ranked[i]) < 0 ? lowering : raising;
      side += fmt::format("{}{} ({:+.3g})", side.empty() ? "" : ", ", ranked[i]->name,
                          e.phi(*ranked[i]));
    }
    rows.push_back({e.answer, fmt::format("{:.4g}", e.attribution.value),
                    raising.empty() ? "–" : raising, lowering.empty() ? "–" : lowering});
  }
  page.table(
      {"item",
       list.front().target.substr(0, list.front().target.find(" of ")) + ", " + list.front().unit,
       "because of", "in spite of"},
      rows);
  for (const Explanation& e : list) {
    page.heading(e.answer);
    page.svg(waterfall(e));
    page.paragraph(sentences(e).front());
  }
  page.heading("How sure this is");
  const std::vector<std::string> lines = sentences(list.front());
  for (size_t i = 1; i < lines.size(); ++i) page.paragraph(lines[i]);
  return page.str();
}

}  // namespace quern::explain
