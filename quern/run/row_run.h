#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/features/columns.h"
#include "quern/features/linear_score.h"
#include "quern/features/tokenizer.h"
#include "quern/model/encoder.h"
#include "quern/run/run_folder.h"

namespace quern::run {

/// What is fitted beside the weights of a model that answers with a class or a value.
struct RowPipeline {
  std::string task;    // "classify" or "regress"
  std::string target;  // the column
  features::ColumnEncoder columns;
  std::vector<std::string> classes;  // in the order of the outputs
  int positive = -1;                 // of two classes, the one that scores speak of
  double threshold = 0.5;            // of its probability, chosen on validation
  std::string threshold_metric;      // what it was chosen by
  double temperature = 1;            // Guo et al. 2017, fitted on validation
  double mean = 0, deviation = 1;    // of the training targets: outputs are standardised
  double interval = 0;               // half the width of a 90 % prediction interval
  Pipeline record;                   // fingerprints, split and counts
};
std::string to_json(const RowPipeline& pipeline);
/// Throws FormatError, or Error("newer_version").
RowPipeline row_pipeline_from_json(std::string_view text, std::string_view where);

/// Which class a row of probabilities names: by the threshold where there are two.
size_t chosen_class(const RowPipeline& pipeline, std::span<const float> probabilities);

/// A trained encoder with what feeds it and what reads it.
struct RowRun {
  fs::path folder;
  RowPipeline pipeline;
  model::EncoderConfig config;
  graph::ParameterStore parameters;                      // without gradients
  std::shared_ptr<const features::Tokenizer> tokenizer;  // null where there are no texts
  features::LinearScore linear;                          // where config.linear
};
/// As load_run, of a run that answers with a class or a value. Throws Error("other_task") for
/// another, saying which command reads it.
RowRun load_row_run(const fs::path& folder);
void save_model(const fs::path& folder, const model::EncoderConfig& config,
                const graph::ParameterStore& parameters);

}  // namespace quern::run
