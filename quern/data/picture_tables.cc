#include "quern/data/picture_tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/data/picture.h"
#include "quern/data/table_reader.h"

namespace quern::data {
namespace {

std::vector<fs::path> children(const fs::path& folder) {
  std::vector<fs::path> entries;
  if (!fs::is_directory(folder)) return entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace

void read_pictures(const fs::path& path, TableSink& sink) {
  sink.begin_file(path.string(), "picture");
  std::vector<std::pair<fs::path, std::string>> found;  // file, class
  if (!fs::is_directory(path)) found.emplace_back(path, "");
  for (const fs::path& entry : children(path)) {
    if (!fs::is_directory(entry) && is_picture_name(entry.filename().string()))
      found.emplace_back(entry, "");
    for (const fs::path& file : children(entry)) {
      if (is_picture_name(file.filename().string()))
        found.emplace_back(file, entry.filename().string());
    }
  }
  std::vector<std::string> names = {std::string(kImageColumn)};
  const bool classes =
      std::any_of(found.begin(), found.end(), [](const auto& one) { return !one.second.empty(); });
  if (classes) names.emplace_back(kLabelColumn);
  const std::vector<size_t> to = sink.declare(names);
  uint64_t line = 0;
  for (const auto& [file, label] : found) {
    std::vector<std::string> cells = {file.string()};
    if (classes) cells.push_back(label);
    sink.add(cells, to, ++line);
  }
}

void read_idx_pictures(const fs::path& path, TableSink& sink) {
  sink.begin_file(path.string(), "picture");
  const Idx images = read_idx(path);
  std::string name = path.filename().string();
  for (const auto& [from, into] : std::initializer_list<std::pair<const char*, const char*>>{
           {"images", "labels"}, {"idx3", "idx1"}, {"idx4", "idx1"}}) {
    const size_t at = name.rfind(from);
    if (at != std::string::npos) name.replace(at, std::string_view(from).size(), into);
  }
  const fs::path label_path = path.parent_path() / name;
  std::vector<std::string> names = {std::string(kImageColumn)};
  Idx labels;
  if (label_path != path && fs::exists(label_path)) {
    labels = read_idx(label_path);
    names.emplace_back(kLabelColumn);
    if (labels.extents != std::vector<int64_t>{images.extents[0]}) {
      throw FormatError(fmt::format("'{}' holds other than one label for each of the {} pictures "
                                    "of '{}'",
                                    label_path.string(), images.extents[0], path.string()),
                        "give the labels that belong to the pictures");
    }
    sink.note(fmt::format("'{}': labels from '{}'", path.string(), label_path.string()));
  }
  const std::vector<size_t> to = sink.declare(names);
  for (size_t i = 0; i < static_cast<size_t>(images.extents[0]); ++i) {
    std::vector<std::string> cells = {fmt::format("{}#{}", path.string(), i)};
    if (names.size() > 1) cells.push_back(std::to_string(static_cast<uint8_t>(labels.bytes[i])));
    sink.add(cells, to, i + 1);
  }
}

}  // namespace quern::data
