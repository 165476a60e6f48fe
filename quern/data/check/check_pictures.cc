#include "quern/data/check/check_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <numeric>

#include "quern/base/error.h"
#include "quern/base/hash.h"

namespace quern::data {
namespace {

constexpr size_t kNearPictures = 100'000, kTickPictures = 500, kNeighbours = 16;
constexpr int64_t kSmall = 16, kHashRows = 8;
constexpr int kBandBits = 16, kBands = 4, kMostApart = 3;
constexpr uint64_t kMostGreyApart = 4;  // a place, of 255
constexpr double kLong = 2;             // long side to short
constexpr size_t kShownSizes = 20;

bool nearly_same(const PictureTrace& a, const PictureTrace& b) {
  if (a.content == b.content || std::popcount(a.differences ^ b.differences) > kMostApart)
    return false;
  uint64_t apart = 0;
  for (size_t i = 0; i < a.small_grey.size(); ++i)
    apart += static_cast<uint64_t>(std::abs(int{a.small_grey[i]} - int{b.small_grey[i]}));
  return apart <= kMostGreyApart * a.small_grey.size();
}

/// What opening all pictures gives.
struct Opened {
  std::vector<PictureTrace> traces;  // of `rows`
  std::vector<size_t> rows;
  size_t broken = 0, example = 0, grey = 0, colour = 0, elongated = 0, elongated_example = 0;
  std::string message;
  std::map<std::string, size_t> sizes;
};

void take(Opened& opened, Checking& checking, size_t row, const Picture& picture, bool near) {
  PictureTrace trace = trace_of(picture);
  checking.content[row] = trace.content;
  checking.sizes[row] = fmt::format("{}×{}", picture.width, picture.height);
  opened.sizes[checking.sizes[row]] += 1;
  (picture.channels == 1 ? opened.grey : opened.colour) += 1;
  const auto [low, high] = std::minmax(picture.width, picture.height);
  if (static_cast<double>(high) > kLong * static_cast<double>(low) && opened.elongated++ == 0)
    opened.elongated_example = row;
  if (!near) return;
  opened.traces.push_back(std::move(trace));
  opened.rows.push_back(row);
}

Opened open_all(Checking& checking, size_t column) {
  const size_t rows = checking.check.rows;
  checking.content.assign(rows, 0);
  checking.sizes.assign(rows, "");
  const size_t stride = (rows + kNearPictures - 1) / kNearPictures;
  Opened opened;
  for (size_t row = 0; row < rows; ++row) {
    if (row % kTickPictures == 0)
      checking.reporter.progress(fmt::format("opening pictures: {} of {}", row, rows));
    const std::string_view name = checking.table.cell(row, column);
    checking.content[row] = hash64(name);
    if (is_missing(name)) continue;
    try {
      take(opened, checking, row, checking.options.load_picture(name), row % stride == 0);
    } catch (const Error& error) {
      if (opened.broken++ > 0) continue;
      opened.example = row;
      opened.message = error.what();
    }
  }
  return opened;
}

void describe_sizes(CheckedColumn& checked, const Opened& opened) {
  for (const auto& [size, rows] : opened.sizes) checked.frequencies.push_back({size, rows});
  std::stable_sort(checked.frequencies.begin(), checked.frequencies.end(),
                   [](const Frequency& a, const Frequency& b) { return a.rows > b.rows; });
  checked.measured = "width × height, the commonest first";
  checked.summary =
      checked.frequencies.empty()
          ? "no picture could be opened"
          : fmt::format("{} sizes, most often {}; {} in colour, {} grey", opened.sizes.size(),
                        checked.frequencies.front().label, opened.colour, opened.grey);
  if (checked.frequencies.size() > kShownSizes) checked.frequencies.resize(kShownSizes);
}

void report_pictures(Checking& checking, const std::string& column, const Opened& opened) {
  const size_t good = opened.grey + opened.colour;
  if (opened.broken > 0) {
    checking.found("broken_pictures", Severity::kSevere, column,
                   fmt::format("{} of {} pictures cannot be opened, as {}; training stops at them: "
                               "take them out",
                               opened.broken, opened.broken + good, opened.message));
  }
  if (opened.sizes.size() > 1) {
    checking.found("picture_sizes", Severity::kNote, column,
                   fmt::format("pictures have {} sizes; they are cut about the centre and scaled "
                               "to one (model.image_size)",
                               opened.sizes.size()));
  }
  if (opened.elongated > 0) {
    checking.found("picture_shapes", Severity::kNote, column,
                   fmt::format("{} pictures are more than twice as long one way, as {}: cutting "
                               "about the centre loses half of them",
                               opened.elongated, checking.where(opened.elongated_example)));
  }
  if (opened.grey > 0 && opened.colour > 0) {
    checking.found("picture_colours", Severity::kNote, column,
                   fmt::format("{} pictures are grey and {} in colour; all are taken as colour",
                               opened.grey, opened.colour));
  }
  const std::vector<NearPicture> near = near_pictures(opened.traces);
  if (near.empty()) return;
  checking.found("near_duplicates", Severity::kNote, column,
                 fmt::format("{} of {} pictures nearly repeat an earlier one, as {} and {}; "
                             "training may see what validation asks",
                             near.size(), opened.traces.size(),
                             checking.where(opened.rows[near.front().picture]),
                             checking.where(opened.rows[near.front().earlier])));
}

}  // namespace

PictureTrace trace_of(const Picture& picture) {
  PictureTrace trace;
  trace.height = picture.height;
  trace.width = picture.width;
  trace.channels = picture.channels;
  const auto size = static_cast<uint64_t>(picture.height * 31 + picture.channels);
  trace.content =
      hash64({reinterpret_cast<const char*>(picture.pixels.data()), picture.pixels.size()}, size);
  trace.small_grey = fit_picture(picture, kSmall, kSmall, 1).pixels;
  const Picture places = fit_picture(picture, kHashRows, kHashRows + 1, 1);
  for (size_t row = 0; row < kHashRows; ++row) {
    for (size_t column = 0; column < kHashRows; ++column) {
      const size_t at = row * (kHashRows + 1) + column;
      trace.differences =
          trace.differences << 1 | static_cast<uint64_t>(places.pixels[at] < places.pixels[at + 1]);
    }
  }
  return trace;
}

std::vector<NearPicture> near_pictures(const std::vector<PictureTrace>& of) {
  std::vector<NearPicture> found;
  std::vector<bool> taken(of.size());
  std::vector<size_t> order(of.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (int band = 0; band < kBands; ++band) {
    const auto bits = [&](size_t picture) {
      return of[picture].differences >> (band * kBandBits) & 0xFFFFU;
    };
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return bits(a) != bits(b) ? bits(a) < bits(b) : a < b; });
    for (size_t i = 1; i < order.size(); ++i) {
      const size_t picture = order[i];
      for (size_t back = 1; back <= std::min(i, kNeighbours) && !taken[picture]; ++back) {
        const size_t earlier = order[i - back];
        if (bits(earlier) != bits(picture)) break;
        if (!nearly_same(of[picture], of[earlier])) continue;
        taken[picture] = true;
        found.push_back({picture, earlier});
      }
    }
  }
  std::sort(found.begin(), found.end(),
            [](const NearPicture& a, const NearPicture& b) { return a.picture < b.picture; });
  return found;
}

void check_pictures(Checking& checking) {
  const int column = image_column(checking.check);
  if (column < 0 || !checking.options.load_picture) return;
  const Opened opened = open_all(checking, static_cast<size_t>(column));
  CheckedColumn& checked = checking.check.columns[static_cast<size_t>(column)];
  describe_sizes(checked, opened);
  report_pictures(checking, checked.facts.name, opened);
  if (checking.check.columns.size() <= 2) checking.check.kind = "pictures";
}

std::vector<uint64_t> picture_contents(const Table& table, size_t column,
                                       const std::function<Picture(std::string_view)>& load) {
  std::vector<uint64_t> out(table.rows());
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view name = table.cell(row, column);
    out[row] = hash64(name);
    if (is_missing(name)) continue;
    try {
      out[row] = trace_of(load(name)).content;
    } catch (const Error&) {
      // Said by check_pictures of the table itself; it counts by its name.
    }
  }
  return out;
}

}  // namespace quern::data
