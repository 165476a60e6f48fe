#include "quern/explain/diagnosis_html.h"

#include <fmt/format.h>

#include "quern/report/bar_plot.h"
#include "quern/report/html.h"
#include "quern/report/line_plot.h"

namespace quern::explain {
namespace {

std::string with_interval(const metrics::Interval& i) {
  return fmt::format("{:.4f} ({:.4f} to {:.4f})", i.value, i.low, i.high);
}

void add_overfitting(report::HtmlPage& page, const Diagnosis& d) {
  const Membership& m = d.membership;
  page.heading("Overfitting");
  page.table({"", "value"}, {{fmt::format("loss on {} training rows", m.train_rows),
                              fmt::format("{:.4f}", m.train_loss)},
                             {fmt::format("loss on {} {} rows", m.held_out_rows, d.held_out),
                              fmt::format("{:.4f}", m.held_out_loss)},
                             {"gap", with_interval(m.gap)},
                             {"membership inference, area", with_interval(m.auc)}});
  if (!d.retraining) return;
  const Retraining& r = *d.retraining;
  report::LinePlot plot;
  plot.title = "Learning curve: validation loss by training rows";
  plot.x_label = "rows";
  plot.y_label = "loss";
  report::Series series{"validation", {}};
  report::Rows rows;
  const auto add_row = [&](const Relearned& one, const std::string& name) {
    rows.push_back({name, fmt::format("{}", one.rows), fmt::format("{:.4f}", one.loss),
                    fmt::format("{:.4f}", one.score)});
  };
  for (const Relearned& one : r.curve) {
    series.points.push_back({static_cast<double>(one.rows), one.loss});
    add_row(one, fmt::format("{:.0f} %", 100 * one.fraction));
  }
  add_row(r.shuffled, "answers dealt out at random");
  plot.series.push_back(std::move(series));
  page.svg(report::to_svg(plot));
  page.table({"learned from", "rows", "validation loss", r.metric}, rows);
}

void add_calibration(report::HtmlPage& page, const Calibration& c) {
  page.heading("Calibration");
  report::Rows rows;
  for (const metrics::Score& score : c.scores) {
    rows.push_back({score.name, with_interval(score.interval)});
  }
  if (c.coverage) {
    rows.push_back({"share inside the 90 % interval", with_interval(*c.coverage)});
  } else {
    rows.push_back({"temperature in force", fmt::format("{:.3f}", c.temperature)});
    rows.push_back({"further temperature", fmt::format("{:.3f}", c.temperature_left)});
  }
  page.table({fmt::format("{} {}", c.rows, c.of), "value"}, rows);
  if (c.bins.empty()) return;
  report::LinePlot plot;
  plot.title = fmt::format("Reliability of '{}'", c.bins_of);
  plot.x_label = "probability given";
  plot.y_label = "how often it was so";
  report::Series ideal{"calibrated", {{0, 0}, {1, 1}}}, found{"found", {}};
  report::Rows bins;
  for (const metrics::ReliabilityBin& bin : c.bins) {
    found.points.push_back({bin.probability, bin.frequency});
    bins.push_back({fmt::format("{:.3f}", bin.probability), fmt::format("{:.3f}", bin.frequency),
                    fmt::format("{}", bin.rows)});
  }
  plot.series = {std::move(ideal), std::move(found)};
  page.svg(report::to_svg(plot));
  page.table({"probability given", "how often it was so", "rows"}, bins);
}

void add_drift(report::HtmlPage& page, const Diagnosis& d) {
  page.heading("Drift");
  page.paragraph(
      fmt::format("The {} against the training rows: population stability index over ten bins of "
                  "training rows, "
                  "what it may reach by chance (one sample in a thousand), and the "
                  "Kolmogorov-Smirnov distance.",
                  d.compared));
  report::Rows rows;
  std::vector<report::Bar> bars;
  for (const ColumnDrift& one : d.drift) {
    bars.push_back({one.name, one.stability});
    rows.push_back(
        {one.name, fmt::format("{:.4f}", one.stability), fmt::format("{:.4f}", one.by_chance),
         one.ks ? fmt::format("{:.4f}", *one.ks) : "",
         fmt::format("{:.1f} %", 100 * one.missing_before),
         fmt::format("{:.1f} %", 100 * one.missing_after), one.drifted ? "over the limit" : ""});
  }
  if (!bars.empty()) page.svg(report::bars_to_svg("Stability index of each column", bars));
  page.table({"column", "stability index", "by chance", "KS", "missing before", "missing now", ""},
             rows);
}

}  // namespace

std::string diagnosis_html(const Diagnosis& d) {
  report::HtmlPage page(fmt::format("Diagnosis of {}", fs::path(d.run).filename().string()));
  for (const std::string& verdict : d.verdicts) page.paragraph(verdict + ".");
  add_overfitting(page, d);
  if (d.calibration) add_calibration(page, *d.calibration);
  page.heading("Leakage");
  page.table({"", "rows"}, {{d.compared, fmt::format("{}", d.leakage.rows)},
                            {"also in training", fmt::format("{}", d.leakage.exact)},
                            {"but for one column", fmt::format("{}", d.leakage.near)}});
  add_drift(page, d);
  return page.str();
}

}  // namespace quern::explain
