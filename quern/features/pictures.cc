#include "quern/features/pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/data/number.h"

namespace quern::features {
namespace {

constexpr int64_t kSmallSide = 64;
constexpr size_t kLookedAt = 100;                     // pictures that decide the size
constexpr size_t kMeasured = 1000;                    // pictures that give the statistics
constexpr uintmax_t kMostBytes = uintmax_t{1} << 30;  // of a picture's file

/// At most `most` of the rows, evenly spread.
std::vector<size_t> spread(std::span<const size_t> rows, size_t most) {
  std::vector<size_t> chosen;
  const size_t count = std::min(rows.size(), most);
  for (size_t i = 0; i < count; ++i) chosen.push_back(rows[i * rows.size() / count]);
  return chosen;
}

data::Picture of_idx(const data::Idx& idx, size_t place, std::string_view name) {
  const bool fits = idx.extents.size() == 3 ||
                    (idx.extents.size() == 4 && (idx.extents[3] == 1 || idx.extents[3] == 3));
  if (!fits || place >= static_cast<size_t>(idx.extents[0])) {
    throw FormatError(fmt::format("'{}': the IDX file has no such picture", name),
                      "give a file of (count, height, width) or (count, height, width, channels)");
  }
  data::Picture picture{
      idx.extents[1], idx.extents[2], idx.extents.size() == 4 ? idx.extents[3] : 1, {}};
  const auto size = static_cast<size_t>(picture.height * picture.width * picture.channels);
  const std::string_view bytes = std::string_view(idx.bytes).substr(place * size, size);
  picture.pixels.assign(bytes.begin(), bytes.end());
  return picture;
}

/// Throws IoError (missing, a folder, unreadable) and FormatError (a pipe, too large).
std::string read_picture(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) {
    throw FormatError(fmt::format("'{}' is no plain file", path.string()),
                      "give a picture's file, or leave its row out");
  }
  const uintmax_t bytes = fs::file_size(path, error);
  if (!error && bytes > kMostBytes) {
    throw FormatError(fmt::format("'{}': {} bytes; a picture's file has {} at most", path.string(),
                                  bytes, kMostBytes),
                      "give a smaller picture, or leave its row out");
  }
  return read_file(path);  // says what else is wrong
}

/// One row's picture, scaled and cut to the feature's size.
void load_picture(PictureLoader& loader, const PictureFeature& feature, std::string_view cell,
                  uint8_t* out) {
  if (!data::is_missing(cell)) {
    const data::Cover cover{feature.height, feature.width};
    const data::Picture fitted = data::fit_picture(loader.load(cell, cover), feature.height,
                                                   feature.width, feature.channels);
    std::copy(fitted.pixels.begin(), fitted.pixels.end(), out);
    return;
  }
  for (int64_t i = 0; i < feature.pixels(); ++i) {
    const double mean = feature.mean[static_cast<size_t>(i % feature.channels)];
    out[i] = static_cast<uint8_t>(std::lround(255 * mean));
  }
}

/// Mean and deviation of each channel.
void measure(const Pixels& pixels, PictureFeature& feature) {
  const auto channels = static_cast<size_t>(feature.channels);
  const double count = static_cast<double>(pixels.size()) / static_cast<double>(channels);
  for (size_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (size_t i = c; i < pixels.size(); i += channels) {
      const double value = pixels[i] / 255.0;
      sum += value;
      squares += value * value;
    }
    feature.mean[c] = sum / count;
    const double variance = squares / count - feature.mean[c] * feature.mean[c];
    feature.deviation[c] = variance > 1e-6 ? std::sqrt(variance) : 1;
  }
}

}  // namespace

const data::Idx& PictureLoader::idx_file(std::string_view name, const fs::path& path) {
  const std::scoped_lock lock(mutex_);
  auto found = idx_.find(name);
  if (found == idx_.end()) found = idx_.emplace(std::string(name), data::read_idx(path)).first;
  return found->second;
}

data::Picture PictureLoader::load(std::string_view name, const data::Cover& cover) {
  const auto resolve = [&](std::string_view path) {
    const fs::path file(path);
    return file.is_absolute() ? file : folder_ / file;
  };
  const size_t hash = name.rfind('#');
  if (hash != std::string_view::npos && data::is_picture_name(name) &&
      data::is_idx_name(name.substr(0, hash))) {
    size_t place = 0;
    const auto [end, error] =
        std::from_chars(name.data() + hash + 1, name.data() + name.size(), place);
    if (error != std::errc() || end != name.data() + name.size())
      throw FormatError(fmt::format("'{}': no place in an IDX file", name), "write FILE#7");
    const std::string_view file = name.substr(0, hash);
    return of_idx(idx_file(file, resolve(file)), place, name);
  }
  const fs::path path = resolve(name);
  return data::decode_picture(read_picture(path), path.string(), cover);
}

PictureFeature fit_pictures(const data::Table& table, std::string_view column,
                            std::span<const size_t> rows, int64_t side, ThreadPool* pool) {
  const auto at = static_cast<size_t>(table.find(column));
  std::vector<size_t> with;
  for (const size_t row : rows)
    if (!data::is_missing(table.cell(row, at))) with.push_back(row);
  if (with.empty()) {
    throw Error("no_pictures", fmt::format("no training row has a picture in '{}'", column),
                "name picture files in that column");
  }
  PictureFeature feature;
  feature.column = column;
  feature.channels = 1;
  PictureLoader loader(table.folder());
  bool same = true;
  for (const size_t row : spread(with, kLookedAt)) {
    const data::Picture picture = loader.load(table.cell(row, at));
    if (feature.height == 0) {
      feature.height = picture.height;
      feature.width = picture.width;
    }
    same = same && picture.height == feature.height && picture.width == feature.width;
    feature.channels = std::max(feature.channels, picture.channels);
  }
  if (side > 0) {
    feature.height = feature.width = side;
  } else if (!same || std::max(feature.height, feature.width) > kSmallSide) {
    feature.height = feature.width = kSmallSide;
  }
  const std::vector<size_t> measured = spread(with, kMeasured);
  measure(load_pictures(feature, table, at, measured, pool), feature);
  return feature;
}

Pixels load_pictures(const PictureFeature& feature, const data::Table& table, size_t column,
                     std::span<const size_t> rows, ThreadPool* pool) {
  PictureLoader loader(table.folder());
  const auto size = static_cast<size_t>(feature.pixels());
  Pixels pixels(rows.size() * size);
  const auto load_one = [&](size_t i, int) {
    load_picture(loader, feature, table.cell(rows[i], column), pixels.data() + i * size);
  };
  if (pool != nullptr) {
    pool->parallel_for(rows.size(), load_one);
  } else {
    for (size_t i = 0; i < rows.size(); ++i) load_one(i, 0);
  }
  return pixels;
}

}  // namespace quern::features
