#pragma once

#include <cstddef>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/store.h"
#include "quern/task/rows.h"

namespace quern::infer {

/// Numbers that the heads of all copies see of a row.
size_t representation_width(const model::EncoderConfig& config);

/// Rows as the head of each copy sees them, side by side: (rows, representation_width()).
std::vector<float> represent(const model::EncoderConfig& config, graph::ParameterStore& parameters,
                             const task::RowInputs& rows, ThreadPool& pool);

}  // namespace quern::infer
