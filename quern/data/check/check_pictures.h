#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quern/data/check/checking.h"

namespace quern::data {

/// A picture in short.
struct PictureTrace {
  uint64_t content = 0;  // a hash of its size and pixels
  int64_t height = 0, width = 0, channels = 0;
  uint64_t differences = 0;         // dHash: whether each of 8 × 8 places is darker than the next
  std::vector<uint8_t> small_grey;  // 16 × 16
};
PictureTrace trace_of(const Picture& picture);

/// Opens every picture of the picture column: which are broken, their sizes, and those that nearly
/// repeat an earlier one. Fills `content` and `sizes`; a broken picture counts by its name.
void check_pictures(Checking& checking);

/// The content hash of every picture in a column, by the same rule.
std::vector<uint64_t> picture_contents(const Table& table, size_t column,
                                       const std::function<Picture(std::string_view)>& load);

/// A picture that nearly repeats an earlier one.
struct NearPicture {
  size_t picture = 0, earlier = 0;
};
/// Pictures whose 64-bit difference hashes (Krawetz 2013) differ in at most 3 places, which puts
/// them into a common one of four bands of 16 bits, and whose 16 × 16 grey pictures differ by at
/// most 4 of 255 a place in the mean. Each is held against 16 neighbours of its band, so time stays
/// linear. Pictures of the same content are left out: they are repeats.
std::vector<NearPicture> near_pictures(const std::vector<PictureTrace>& of);

}  // namespace quern::data
