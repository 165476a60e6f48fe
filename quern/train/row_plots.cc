#include "quern/train/row_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "quern/report/bar_plot.h"
#include "quern/report/matrix_plot.h"
#include "quern/train/report_parts.h"

namespace quern::train {
namespace {

constexpr size_t kShownClasses = 20, kShownPairs = 8, kCurves = 5;
constexpr size_t kSlices = 20, kBars = 30;

report::Series series_of(std::string name, const std::vector<metrics::CurvePoint>& points) {
  report::Series series{std::move(name), {}};
  for (const metrics::CurvePoint& point : points) series.points.push_back({point.x, point.y});
  return series;
}

void add_confusion(report::HtmlPage& page, const std::vector<std::string>& classes,
                   const std::vector<uint64_t>& counts) {
  page.heading("Confusion");
  const size_t all = classes.size(), shown = std::min(all, kShownClasses);
  report::MatrixPlot matrix;
  matrix.title = "What stands in the data, and what the model says";
  matrix.row_label = "stands";
  matrix.column_label = "says";
  matrix.names.assign(classes.begin(), classes.begin() + static_cast<std::ptrdiff_t>(shown));
  for (size_t i = 0; i < shown; ++i)
    for (size_t j = 0; j < shown; ++j) matrix.counts.push_back(counts[i * all + j]);
  page.svg(report::to_svg(matrix));
  if (shown < all) page.paragraph(fmt::format("The first {} of {} classes are shown.", shown, all));
  if (all == 2) return;
  std::vector<size_t> pairs;
  for (size_t at = 0; at < counts.size(); ++at)
    if (at / all != at % all && counts[at] > 0) pairs.push_back(at);
  std::stable_sort(pairs.begin(), pairs.end(),
                   [&](size_t a, size_t b) { return counts[a] > counts[b]; });
  report::Rows rows;
  for (size_t i = 0; i < std::min(kShownPairs, pairs.size()); ++i) {
    rows.push_back({classes[pairs[i] / all], classes[pairs[i] % all],
                    with_commas(static_cast<int64_t>(counts[pairs[i]]))});
  }
  if (!rows.empty()) page.table({"stands", "most often taken for", "rows"}, rows);
}

/// Mean and tenths of the truth in twenty slices of rows, ordered by what is said.
std::vector<report::Series> truth_by_prediction(const task::OwnUnits& units) {
  std::vector<size_t> order(units.targets.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return units.predictions[a] < units.predictions[b]; });
  report::Series said{"said", {}}, mean{"truth, mean", {}}, low{"truth, lowest tenth", {}},
      high{"truth, highest tenth", {}};
  for (size_t slice = 0; slice < kSlices; ++slice) {
    const size_t begin = order.size() * slice / kSlices;
    const size_t end = order.size() * (slice + 1) / kSlices;
    if (begin == end) continue;
    std::vector<double> truths;
    double predicted = 0, sum = 0;
    for (size_t i = begin; i < end; ++i) {
      truths.push_back(units.targets[order[i]]);
      predicted += units.predictions[order[i]];
      sum += truths.back();
    }
    std::sort(truths.begin(), truths.end());
    const double x = predicted / static_cast<double>(truths.size());
    said.points.push_back({x, x});
    mean.points.push_back({x, sum / static_cast<double>(truths.size())});
    low.points.push_back({x, truths[truths.size() / 10]});
    high.points.push_back({x, truths[truths.size() - 1 - truths.size() / 10]});
  }
  return {said, mean, low, high};
}

/// Counts in equal ranges between the first and the last hundredth; what lies beyond is in the
/// outer ranges.
std::string residual_bars(std::vector<double> residuals) {
  std::sort(residuals.begin(), residuals.end());
  const double low = residuals[residuals.size() / 100];
  const double high = residuals[residuals.size() - 1 - residuals.size() / 100];
  const double width = (high - low) / kBars;
  std::vector<report::Bar> bars(width > 0 ? kBars : 1);
  for (size_t i = 0; i < bars.size(); ++i) {
    bars[i].label =
        fmt::format("{:.4g}", i + 1 == bars.size() ? high : low + width * static_cast<double>(i));
  }
  for (const double residual : residuals) {
    const double at = width > 0 ? std::clamp((residual - low) / width, 0.0, kBars - 1.0) : 0;
    bars[static_cast<size_t>(at)].value += 1;
  }
  return report::bars_to_svg("Rows by residual", bars);
}

}  // namespace

void add_class_plots(report::HtmlPage& page, const run::RowPipeline& p,
                     const task::RowAnswers& rows) {
  const metrics::Classified c = task::classified(p, rows);
  add_confusion(page, p.classes, metrics::confusion(c));
  page.heading("Curves by class");
  if (p.positive < 0 && p.classes.size() > kCurves)
    page.paragraph(fmt::format("The first {} of {} classes, each against the rest.", kCurves,
                               p.classes.size()));
  std::vector<report::Series> roc, precision, reliable;
  for (size_t i = 0; i < std::min(p.classes.size(), kCurves); ++i) {
    if (p.positive >= 0 && i != static_cast<size_t>(p.positive)) continue;
    roc.push_back(series_of(p.classes[i], metrics::roc_curve(c, i)));
    precision.push_back(series_of(p.classes[i], metrics::precision_recall_curve(c, i)));
    report::Series line{p.classes[i], {}};
    for (const metrics::ReliabilityBin& bin : metrics::reliability(c, i))
      line.points.push_back({bin.probability, bin.frequency});
    reliable.push_back(std::move(line));
  }
  roc.push_back({"chance", {{0, 0}, {1, 1}}});
  reliable.push_back({"as said", {{0, 0}, {1, 1}}});
  page.svg(
      report::to_svg(plot("ROC", "false positive rate", "true positive rate", std::move(roc))));
  page.svg(
      report::to_svg(plot("Precision and recall", "recall", "precision", std::move(precision))));
  page.svg(report::to_svg(plot("Reliability: what is said against what happens", "probability said",
                               "share that came true", std::move(reliable))));
}

void add_value_plots(report::HtmlPage& page, const run::RowPipeline& p,
                     const task::RowAnswers& rows) {
  const task::OwnUnits units = task::own_units(p, rows);
  page.heading("Predictions and truth");
  page.svg(report::to_svg(plot("Truth against prediction, by twentieths of the rows", "prediction",
                               p.target, truth_by_prediction(units))));
  page.heading("Residuals");
  page.paragraph(
      "A residual is the truth less the prediction: above zero, the model says too "
      "little.");
  report::Series dots{"", {}, true};
  std::vector<double> residuals;
  for (size_t i = 0; i < units.targets.size(); ++i) {
    residuals.push_back(units.targets[i] - units.predictions[i]);
    dots.points.push_back({units.predictions[i], residuals.back()});
  }
  page.svg(report::to_svg(
      plot("Residual against prediction", "prediction", "residual", {std::move(dots)})));
  page.svg(residual_bars(std::move(residuals)));
}

}  // namespace quern::train
