#pragma once

#include <string>

#include "quern/metrics/interval.h"
#include "quern/report/html.h"
#include "quern/report/line_plot.h"
#include "quern/run/options.h"
#include "quern/train/experiment_log.h"
#include "quern/train/trainer.h"

// What the reports of every task share.
namespace quern::train {

/// What happened in training, and what of: pointers are not owned.
struct RunFacts {
  const run::Options* options = nullptr;
  const TrainResult* result = nullptr;
  int64_t parameters = 0;
  LoggedLosses losses;
  std::string unit;  // of the loss: "nats a token"
};

/// "0.9012 (0.8870 to 0.9143)".
std::string with_interval(const metrics::Interval& interval);

/// Verdict, what was done against overfitting, losses, steps, time, parameters.
report::Rows training_rows(const RunFacts& facts);
/// Losses over the evaluations, and each step's loss, learning rate and gradient norm.
void add_curves(report::HtmlPage& page, const RunFacts& facts);
/// Every option with who decided it, under a heading.
void add_options(report::HtmlPage& page, const run::Options& options);

report::LinePlot plot(std::string title, std::string x, std::string y,
                      std::vector<report::Series> series);

/// What nobody but the owner of the data knows: for the end of a model card.
std::string card_ending();

}  // namespace quern::train
