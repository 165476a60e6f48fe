#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/task/table_task.h"

namespace quern::task {

/// Rows that stand for "not known" when an answer is explained: as many as shap takes at most.
inline constexpr size_t kBackgroundRows = 100;

/// Of a run over texts or pictures alone: the chosen training rows as its model represents them,
/// the tensor "rows" (rows, width).
inline constexpr std::string_view kRepresentedFile = "background.safetensors";

/// At most `count` training rows, drawn evenly over the sorted target, so that their mean answer is
/// near that of all.
std::vector<size_t> choose_background(const TableTask& task, size_t count, uint64_t seed);

/// Those rows as CSV: the columns that the model reads, texts and pictures left empty.
std::string background_csv(const data::Table& table, const features::ColumnEncoder& encoder,
                           std::span<const size_t> rows);

}  // namespace quern::task
