#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  /// Throws IoError and FormatError naming the file.
  data::Picture load(std::string_view name);

 private:
  fs::path folder_;
  std::map<std::string, data::Idx, std::less<>> idx_;
};

/// The size (`side`; 0: that of the pictures where all agree and none is above 64 pixels, else 64),
/// whether colour matters, and the statistics of at most 1,000 of the rows.
PictureFeature fit_pictures(const data::Table& table, std::string_view column,
                            std::span<const size_t> rows, int64_t side);

/// (rows, height, width, channels); a row without a picture has one of the mean colour.
std::vector<uint8_t> load_pictures(const PictureFeature& feature, const data::Table& table,
                                   size_t column, std::span<const size_t> rows);

}  // namespace quern::features
