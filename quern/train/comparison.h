#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quern/base/file.h"
#include "quern/train/experiment_log.h"

namespace quern::train {

/// A finished run, as far as runs are compared.
struct ComparedRun {
  std::string name;  // the folder
  std::string task, fingerprint;
  std::string rounded;  // "q8_0": the weights were, after the scores were taken; "": they were not
  std::map<std::string, std::string> split;
  std::map<std::string, double> figures;  // "validation.auc", "baseline.auc", "seconds", …
  std::map<std::string, std::string> options;
  LoggedLosses losses;
};

/// Throws IoError naming what the folder lacks (an unfinished run has no metrics.json) and
/// FormatError.
ComparedRun read_compared(const fs::path& folder);

/// One line of the comparison: a value a run, in their order; nothing where a run has none.
struct ComparedFigure {
  std::string name;
  std::vector<std::optional<double>> values;
  int best = -1;  // the run with the best value; -1: neither direction is better, or a tie
};
struct ComparedOption {
  std::string key;
  std::vector<std::string> values;
};

struct Comparison {
  std::vector<std::string> names;
  std::vector<ComparedFigure> figures;  // scores of the validation part, then the rest
  std::vector<ComparedOption> options;  // keys that differ
  std::vector<std::string> warnings;    // why the scores do not compare, in plain words
};

/// Runs side by side. Which of two scores is better follows from its name: errors, losses and
/// calibration errors are better low; accuracies, areas, hit rates high.
Comparison compare(std::span<const ComparedRun> runs);

/// One page: the table, the options that differ, the validation losses in one plot.
std::string comparison_html(const Comparison& comparison, std::span<const ComparedRun> runs);

/// "0.9012", "1,250,000", "-".
std::string figure_text(const std::optional<double>& value);

}  // namespace quern::train
