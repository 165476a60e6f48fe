#include "quern/train/row_calibration.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/number.h"
#include "quern/infer/row_predictor.h"

namespace quern::train {

void calibrate(run::RowPipeline& p, task::RowAnswers& rows, const run::Options& options) {
  if (p.task == "regress") {
    constexpr double kCoverage = 0.9;
    const double half = metrics::conformal_half_width(task::own_units(p, rows).view(), kCoverage);
    // Fewer than nine rows cannot say what holds nine of ten: the largest error then.
    p.interval =
        std::isfinite(half) ? half : metrics::largest_error(task::own_units(p, rows).view());
    return;
  }
  p.temperature = metrics::fit_temperature(task::classified(p, rows));
  infer::apply_temperature(rows.answers, static_cast<int64_t>(p.classes.size()), p.temperature);
  if (p.positive < 0) return;
  const std::string metric(options.text("data.metric"));
  const std::string costs(options.text("data.costs"));
  p.threshold_metric = metric;
  if (!costs.empty()) {
    p.threshold_metric = "costs " + costs;
    p.threshold = threshold_by_costs(costs);
  } else if (metric == "accuracy") {
    p.threshold = metrics::fit_threshold(task::classified(p, rows), metrics::accuracy);
  } else if (metric == "balanced_accuracy") {
    p.threshold = metrics::fit_threshold(task::classified(p, rows), metrics::balanced_accuracy);
  } else if (metric == "f1") {
    p.threshold = metrics::fit_threshold(task::classified(p, rows), metrics::f1);
  }
}

double threshold_by_costs(const std::string& costs) {
  const std::vector<std::string> parts = split(costs, ':');
  const auto first = data::parse_number(parts.front());
  const auto second = data::parse_number(parts.back());
  if (parts.size() != 2 || !first || !second || *first <= 0 || *second <= 0) {
    throw UsageError("bad_value", fmt::format("data.costs = {} is not two costs", costs),
                     "what a false alarm costs, then a miss, as 1:5");
  }
  return metrics::cost_threshold(*first, *second);
}

}  // namespace quern::train
