#pragma once

#include <span>
#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/data/column_types.h"
#include "quern/data/row_split.h"
#include "quern/data/table.h"
#include "quern/run/options.h"
#include "quern/run/row_run.h"
#include "quern/task/rows.h"

namespace quern::task {

/// A table with a column to predict: what the trainer reads, and what the run keeps of it.
struct TableTask {
  data::Table table;
  std::vector<data::ColumnFacts> facts;
  size_t target = 0;
  data::RowSplit split;
  run::RowPipeline pipeline;
  std::string task_reason;  // why classify or regress

  RowTargets targets(std::span<const size_t> rows) const;
  /// The same with the weights of data.class_weights.
  RowTargets weighted_targets(std::span<const size_t> rows, const run::Options& options) const;
};

/// Reads the table, infers types and the task, divides the rows and fits the encoder of columns on
/// the training rows. Notes each inference with its reason and the override. A file named by
/// data.validation is read as the validation part. Throws UsageError (no such target, naming the
/// nearest) and Error: "constant_target", "class_too_small" (a class of one row), "no_columns".
TableTask make_table_task(std::span<const fs::path> paths, const run::Options& options,
                          Reporter& reporter);

/// The targets of other rows (an evaluation file), by the pipeline's classes or standardisation.
/// Rows without a target are left out of `rows`. Throws Error("unknown_class") naming where it
/// stands.
RowTargets read_targets(const data::Table& table, const run::RowPipeline& pipeline,
                        std::vector<size_t>& rows);

}  // namespace quern::task
