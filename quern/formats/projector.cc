#include "quern/formats/projector.h"

#include <fmt/format.h>

#include <stdexcept>
#include <string_view>

#include "quern/base/readable_text.h"

namespace quern::formats {
namespace {

constexpr std::string_view kTensorFile = "embeddings.tsv";
constexpr std::string_view kLabelFile = "metadata.tsv";
constexpr std::string_view kConfigFile = "projector_config.pbtxt";

std::string line_of(const std::vector<std::string>& cells) {
  std::string line;
  for (const std::string& cell : cells) {
    if (&cell != &cells.front()) line += '\t';
    for (const char c : valid_utf8(cell)) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return line + '\n';
}

void write_values(const fs::path& path, const ProjectorPoints& points) {
  AtomicFile file(path);
  for (size_t begin = 0; begin < points.values.size(); begin += points.width) {
    std::string line;
    for (const float value : points.values.subspan(begin, points.width))
      line += fmt::format("{}{:.5g}", line.empty() ? "" : "\t", value);
    file.write(line + "\n");
  }
  file.commit();
}

void write_labels(const fs::path& path, const ProjectorPoints& points) {
  AtomicFile file(path);
  if (points.columns.size() > 1) file.write(line_of(points.columns));
  for (const auto& cells : points.cells) file.write(line_of(cells));
  file.commit();
}

}  // namespace

void write_projector(const fs::path& folder, const ProjectorPoints& points) {
  if (points.width == 0 || points.values.size() != points.cells.size() * points.width)
    throw std::invalid_argument("projector: values and labels are not of as many points");
  write_values(folder / kTensorFile, points);
  write_labels(folder / kLabelFile, points);
  // Last: it names the others.
  write_file(folder / kConfigFile,
             fmt::format("embeddings {{\n  tensor_name: \"{}\"\n  tensor_path: \"{}\"\n  "
                         "metadata_path: \"{}\"\n}}\n",
                         points.name, kTensorFile, kLabelFile));
}

}  // namespace quern::formats
