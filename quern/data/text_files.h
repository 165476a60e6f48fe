#pragma once

#include <span>
#include <vector>

#include "quern/base/file.h"

namespace quern::data {

struct DataFile {
  fs::path path;
  uint64_t size = 0;   ///< bytes on disk
  bool named = false;  ///< named by the user, not found in a folder
};

/// A name that begins with a dot, as .DS_Store and the ._photo.jpg that macOS puts beside a
/// picture: whoever walks through a folder leaves it out.
bool is_hidden(const fs::path& path);

/// The files that the paths stand for: files as named, folders walked to the bottom in the order of
/// their paths' bytes, hidden entries left out. A file reached twice (a link) counts once. Throws
/// IoError (missing, unreadable) and Error("empty_folder").
std::vector<DataFile> list_files(std::span<const fs::path> paths);

}  // namespace quern::data
