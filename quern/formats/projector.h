#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "quern/base/file.h"

namespace quern::formats {

/// Points for TensorBoard's embedding projector.
struct ProjectorPoints {
  std::string name;  // letters, digits, '_'
  size_t width = 0;
  std::span<const float> values;                // (points, width)
  std::vector<std::string> columns;             // of the labels
  std::vector<std::vector<std::string>> cells;  // (points, columns)
};

/// Writes embeddings.tsv, metadata.tsv (with a header where there are several columns, as the
/// projector takes it; control characters become spaces) and last projector_config.pbtxt, each
/// whole or not at all. Throws IoError; std::invalid_argument where values and cells are not of as
/// many points.
void write_projector(const fs::path& folder, const ProjectorPoints& points);

}  // namespace quern::formats
