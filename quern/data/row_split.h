#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/data/table.h"

namespace quern::data {

/// How rows are divided (the key data.split).
struct RowSplitOptions {
  std::string mode =
      "auto";  // auto | random | stratified | contiguous | time:COLUMN | group:COLUMN
  double validation = 0.1, test = 0;  // shares of all rows
  bool classes = false;               // the target is a class: auto stratifies
  uint64_t seed = 1;
};

/// Indices of rows, rising.
struct RowSplit {
  std::vector<size_t> train, validation, test;
  std::vector<uint32_t> folds;  // of each row of `train`; empty: none
  size_t repeats = 0;           // rows whose features stand in an earlier row: kept on its side
  std::string reason;           // for people
};

/// Divides the given rows. Rows that agree in all but the target and the columns of `beside` (such
/// as identifiers) go to one side, so that no validation row was seen in training; which side
/// follows from seed and content, not from order. Throws UsageError (unknown mode, column or
/// shares) and Error("too_few_rows").
RowSplit split_rows(const Table& table, const std::vector<size_t>& rows, size_t target,
                    const RowSplitOptions& options, const std::vector<size_t>& beside = {});

/// `count` folds over the rows, each row in one: stratified by the target where `classes`, repeats
/// together (unless there are fewer than two different rows for each fold).
std::vector<std::vector<size_t>> fold_rows(const Table& table, const std::vector<size_t>& rows,
                                           size_t target, bool classes, size_t count, uint64_t seed,
                                           const std::vector<size_t>& beside = {});
/// The same, as the fold of each of the rows.
std::vector<uint32_t> fold_of_rows(const Table& table, const std::vector<size_t>& rows,
                                   size_t target, bool classes, uint32_t count, uint64_t seed,
                                   const std::vector<size_t>& beside = {});

}  // namespace quern::data
