#pragma once

#include <string>
#include <vector>

#include "quern/model/model_config.h"
#include "quern/run/run_folder.h"
#include "quern/train/report_parts.h"

namespace quern::train {

/// What the reports of a finished run tell. Pointers are not owned.
struct TrainingReport {
  std::string name;
  RunFacts run;
  const run::Pipeline* pipeline = nullptr;
  const model::ModelConfig* config = nullptr;
  double bits_per_byte = 0;
  double baseline_bits_per_byte = 0;
  std::string baseline;  // what it is
  std::vector<std::string> samples;
};

/// report.html: the result beside the baseline, loss curves, samples, every option.
std::string report_html(const TrainingReport& report);
/// MODEL_CARD.md, in the layout of Hugging Face's model cards. Holds nothing that changes between
/// equal runs but times.
std::string model_card(const TrainingReport& report);

/// Who won, plainly: "2.310 bits per byte; a 5-gram on the same split has 2.440: the transformer
/// wins by 5.3 %", or "…: the transformer does not win (1.2 % worse)".
std::string result_line(double bits_per_byte, double baseline_bits_per_byte);

}  // namespace quern::train
