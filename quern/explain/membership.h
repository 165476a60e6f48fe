#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/metrics/interval.h"
#include "quern/run/row_run.h"
#include "quern/task/row_scores.h"

namespace quern::explain {

/// The loss of each row: -log p of its class, or the squared error of its standardised value.
std::vector<double> row_losses(const run::RowPipeline& pipeline, const task::RowAnswers& rows);

/// How differently a model treats rows that it learned from and rows that it did not.
struct Membership {
  double train_loss = 0, held_out_loss = 0;  // means
  metrics::Interval gap;                     // held out less train, 95 % (Welch)
  /// How well the loss alone tells a training row from another: the area under the ROC curve of a
  /// membership inference attack by loss (Yeom et al. 2018), ½ by chance. 95 % by bootstrap.
  metrics::Interval auc;
  size_t train_rows = 0, held_out_rows = 0;  // looked at
};
/// Throws Error("too_few_rows") where a side has fewer than two rows.
Membership membership(std::span<const double> train, std::span<const double> held_out,
                      uint64_t seed);

}  // namespace quern::explain
