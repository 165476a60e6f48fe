#include "quern/data/text_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <system_error>

#include "quern/base/error.h"

namespace quern::data {
namespace {

std::vector<fs::path> walk(const fs::path& folder) {
  std::vector<fs::path> files;
  auto it = fs::recursive_directory_iterator(folder);
  for (const auto end = fs::recursive_directory_iterator(); it != end; ++it) {
    if (is_hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      files.push_back(it->path());
    }
  }
  std::sort(files.begin(), files.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return files;
}

}  // namespace

bool is_hidden(const fs::path& path) { return path.filename().native().starts_with('.'); }

std::vector<DataFile> list_files(std::span<const fs::path> paths) {
  std::vector<DataFile> files;
  std::set<fs::path> seen;
  const auto add = [&](const fs::path& path, bool named) {
    if (seen.insert(fs::canonical(path)).second) {
      // Pipes and devices have no size; opening refuses them.
      files.push_back({path, fs::is_regular_file(path) ? fs::file_size(path) : 0, named});
    }
  };
  for (const fs::path& path : paths) {
    try {
      if (!fs::exists(path)) {
        throw IoError(fmt::format("'{}' does not exist", path.string()), "check the path",
                      "file_missing");
      }
      if (!fs::is_directory(path)) {
        add(path, true);
        continue;
      }
      const std::vector<fs::path> found = walk(path);
      if (found.empty()) {
        throw Error("empty_folder", fmt::format("the folder '{}' holds no files", path.string()),
                    "name a folder with text files");
      }
      for (const fs::path& file : found) add(file, false);
    } catch (const fs::filesystem_error& error) {
      const bool permission = error.code() == std::errc::permission_denied;
      throw IoError(fmt::format("cannot read '{}': {}", path.string(), error.code().message()),
                    "check the path and its permissions", permission ? "no_permission" : "io");
    }
  }
  return files;
}

}  // namespace quern::data
