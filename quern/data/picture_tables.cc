#include "quern/data/picture_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "quern/base/error.h"
#include "quern/data/picture.h"
#include "quern/data/table_reader.h"
#include "quern/data/text_files.h"

namespace quern::data {
namespace {

using Entry = fs::directory_entry;

bool is_folder(const Entry& entry) {
  std::error_code ignored;  // a link that loops is none
  return entry.is_directory(ignored);
}

bool is_picture(const Entry& entry) {
  return is_picture_name(entry.path().filename().string()) && !is_folder(entry);
}

/// What stands in a folder, in order; nothing where it is none. Throws IoError.
std::vector<Entry> children(const Entry& folder) {
  std::vector<Entry> entries;
  if (!is_folder(folder)) return entries;
  std::error_code error;
  fs::directory_iterator it(folder.path(), error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    if (!is_hidden(it->path())) entries.push_back(*it);
  }
  if (error) {
    throw IoError(fmt::format("cannot read '{}': {}", folder.path().string(), error.message()),
                  "check the permissions of the folder", "no_permission");
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

Entry entry_of(const fs::path& path) {
  std::error_code ignored;
  return Entry(path, ignored);
}

}  // namespace

bool is_picture_folder(const fs::path& folder) {
  for (const Entry& entry : children(entry_of(folder))) {
    if (is_picture(entry)) return true;
    const std::vector<Entry> files = children(entry);
    if (std::any_of(files.begin(), files.end(), is_picture)) return true;
  }
  return false;
}

void read_pictures(const fs::path& path, TableSink& sink) {
  sink.begin_file(path.string(), "picture");
  std::vector<std::pair<fs::path, std::string>> found;  // file, class
  if (!is_folder(entry_of(path))) found.emplace_back(path, "");
  for (const Entry& entry : children(entry_of(path))) {
    if (is_picture(entry)) found.emplace_back(entry.path(), "");
    for (const Entry& file : children(entry)) {
      if (is_picture(file)) found.emplace_back(file.path(), entry.path().filename().string());
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

std::vector<std::string> idx_pictures_in(const fs::path& folder) {
  std::vector<std::string> files;
  for (const Entry& entry : children(entry_of(folder)))
    if (is_idx_name(entry.path()) && !is_folder(entry)) files.push_back(entry.path().string());
  return files;
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
