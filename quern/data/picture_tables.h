#pragma once

#include <string>
#include <vector>

#include "quern/base/file.h"
#include "quern/data/table_sink.h"

namespace quern::data {

/// Whether pictures stand in the folder or in the folders of it. Throws IoError.
bool is_picture_folder(const fs::path& folder);
/// A picture, a folder of pictures, or a folder of folders named by class; hidden files and folders
/// are left out. Throws IoError.
void read_pictures(const fs::path& path, TableSink& sink);
/// The IDX files of pictures in a folder, in order.
std::vector<std::string> idx_pictures_in(const fs::path& folder);
/// The pictures of an IDX file, with the labels of the file of the same name. Throws FormatError.
void read_idx_pictures(const fs::path& path, TableSink& sink);

}  // namespace quern::data
