#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/temporary_file.h"
#include "quern/base/thread_pool.h"
#include "quern/data/picture.h"
#include "quern/data/table.h"

namespace quern::features {

/// A column of pictures as the model takes them: one size, each channel standardised by the
/// training rows.
struct PictureFeature {
  std::string column;  // empty: none
  int64_t height = 0, width = 0, channels = 0;
  std::array<double, 3> mean{}, deviation{1, 1, 1};  // of a channel, of bytes / 255

  bool present() const { return !column.empty(); }
  int64_t pixels() const { return height * width * channels; }
};

/// Pictures by the names that stand in cells: files, or places of an IDX file ("FILE#7").
class PictureLoader {
 public:
  /// Relative names start from `folder`.
  explicit PictureLoader(fs::path folder) : folder_(std::move(folder)) {}
  /// With at least the cover's pixels, where the file has them. Throws IoError and FormatError
  /// naming the file. Any number of threads may load at once.
  data::Picture load(std::string_view name, const data::Cover& cover = {});

 private:
  const data::Idx& idx_file(std::string_view name, const fs::path& path);

  fs::path folder_;
  std::mutex mutex_;  // of the map, not of what it holds
  std::map<std::string, data::Idx, std::less<>> idx_;
};

/// Pictures of rows as the model takes them, (rows, height, width, channels); many of them lie in a
/// temporary file, which the system takes in and out of memory.
using Pixels = std::vector<uint8_t, PageableAllocator<uint8_t>>;

/// The size (`side`; 0: that of the pictures where all agree and none is above 64 pixels, else 64),
/// whether colour matters, and the statistics of at most 1,000 of the rows. `pool` may be null.
PictureFeature fit_pictures(const data::Table& table, std::string_view column,
                            std::span<const size_t> rows, int64_t side, ThreadPool* pool);

/// One picture a row; a row without one has the mean colour. The pool's threads (null: this one)
/// decode, so that no more than a picture a thread lies in memory at its full size.
Pixels load_pictures(const PictureFeature& feature, const data::Table& table, size_t column,
                     std::span<const size_t> rows, ThreadPool* pool);

}  // namespace quern::features
