#include "quern/explain/masked_novelty.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/membership.h"
#include "quern/formats/safetensors.h"
#include "quern/infer/representation.h"
#include "quern/task/background.h"

namespace quern::explain {
namespace {

constexpr size_t kDraws = 200;

/// The features of one row.
struct Features {
  std::vector<float> places;
  std::vector<int32_t> ids;
};

Features features_of(const features::EncodedRows& rows, size_t row) {
  const auto part = [row](const auto& all, int64_t width) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(row) * width;
    return std::vector(first, first + width);
  };
  return {part(rows.places, rows.numbers), part(rows.category_ids, rows.categories)};
}

double distance(const features::ColumnEncoder& encoder, const Features& a, const Features& b) {
  double sum = 0;
  for (size_t i = 0; i < a.places.size(); ++i) {
    const bool missing_a = std::isnan(a.places[i]), missing_b = std::isnan(b.places[i]);
    if (missing_a || missing_b) {
      sum += missing_a == missing_b ? 0 : 1;
      continue;
    }
    const auto pieces = static_cast<double>(std::max<int64_t>(1, encoder.numbers()[i].pieces()));
    sum += std::abs(static_cast<double>(a.places[i]) - static_cast<double>(b.places[i])) / pieces;
  }
  for (size_t i = 0; i < a.ids.size(); ++i) sum += a.ids[i] == b.ids[i] ? 0 : 1;
  return sum / static_cast<double>(a.places.size() + a.ids.size());
}

/// The least of the distances to known rows, all but one.
template <typename Distance>
double nearest(size_t rows, size_t left_out, const Distance& distance) {
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < rows; ++i)
    if (i != left_out) least = std::min(least, distance(i));
  return least;
}

/// Which parts the masked row of a draw shows: one at least, and not all.
void draw_shown(Random& random, std::span<uint8_t> shown) {
  random_subset(1 + random.below(shown.size() - 1), random, shown);
}

/// Rows of a width, each scaled to length 1.
std::vector<float> unit_rows(std::span<const float> rows, size_t width) {
  std::vector<float> scaled(rows.begin(), rows.end());
  for (size_t begin = 0; begin < scaled.size(); begin += width) {
    double squares = 0;
    for (const float value : rows.subspan(begin, width))
      squares += static_cast<double>(value) * static_cast<double>(value);
    const double length = std::max(std::sqrt(squares), 1e-30);
    for (float& value : std::span(scaled).subspan(begin, width))
      value = static_cast<float>(static_cast<double>(value) / length);
  }
  return scaled;
}

double euclidean(std::span<const float> a, std::span<const float> b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double apart = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    squares += apart * apart;
  }
  return std::sqrt(squares);
}

}  // namespace

std::optional<metrics::Interval> masked_novelty(const features::ColumnEncoder& encoder,
                                                const ExplainedRow& row,
                                                const features::EncodedRows& background,
                                                uint64_t seed) {
  const auto rows = static_cast<size_t>(background.rows);
  std::vector<const RowPart*> columns;
  for (const RowPart& part : row.parts)
    if (part.kind == RowPart::Kind::kColumn) columns.push_back(&part);
  if (columns.size() < 2 || rows < 3) return std::nullopt;
  std::vector<Features> known;
  known.reserve(rows);
  for (size_t i = 0; i < rows; ++i) known.push_back(features_of(background, i));
  const auto nearest_other = [&](const Features& one, size_t left_out) {
    return nearest(rows, left_out, [&](size_t i) { return distance(encoder, one, known[i]); });
  };
  std::vector<double> alike, masked;
  for (size_t i = 0; i < rows; ++i) alike.push_back(nearest_other(known[i], i));
  const Features own = features_of(row.inputs.columns, 0);
  std::vector<uint8_t> shown(columns.size());
  for (size_t i = 0; i < kDraws; ++i) {
    Random random(seed, Stream::kCoalition, i);
    draw_shown(random, shown);
    const size_t lender = random.below(rows);
    Features mixed = known[lender];
    for (size_t c = 0; c < columns.size(); ++c) {
      if (shown[c] == 0) continue;
      for (const size_t n : columns[c]->numbers) mixed.places[n] = own.places[n];
      for (const size_t n : columns[c]->categories) mixed.ids[n] = own.ids[n];
    }
    masked.push_back(nearest_other(mixed, lender));
  }
  // The attack's score, on distances in place of losses.
  return membership(alike, masked, seed).auc;
}

std::optional<metrics::Interval> masked_novelty(run::RowRun& run, ThreadPool& pool, RowGame& game,
                                                const ExplainedRow& row,
                                                std::span<const float> represented, uint64_t seed) {
  if (row.parts.size() < 2 || represented.empty()) return std::nullopt;
  Coalitions drawn(row.parts.size());
  for (size_t i = 0; i < kDraws; ++i) {
    Random random(seed, Stream::kCoalition, i);
    draw_shown(random, drawn.add());
  }
  const auto as_seen = [&](const task::RowInputs& rows) {
    return infer::represent(run.config, run.parameters, rows, pool);
  };
  return represented_novelty(represented, as_seen(game.rows_of(drawn, 0)), as_seen(row.inputs),
                             seed);
}

std::optional<metrics::Interval> represented_novelty(std::span<const float> known,
                                                     std::span<const float> masked,
                                                     std::span<const float> own, uint64_t seed) {
  const size_t width = own.size();
  const std::vector<float> itself = unit_rows(own, width), all = unit_rows(known, width);
  const auto row_of = [width](std::span<const float> rows, size_t i) {
    return rows.subspan(i * width, width);
  };
  constexpr double kSame = 1e-5;  // single precision, batches of other sizes
  std::vector<std::span<const float>> others;
  for (size_t i = 0; i < all.size() / width; ++i)
    if (euclidean(row_of(all, i), itself) > kSame) others.push_back(row_of(all, i));
  if (others.size() < 3) return std::nullopt;
  const auto nearest_other = [&](std::span<const float> one, size_t left_out) {
    return nearest(others.size(), left_out, [&](size_t i) { return euclidean(one, others[i]); });
  };
  std::vector<double> alike, further;
  for (size_t i = 0; i < others.size(); ++i) alike.push_back(nearest_other(others[i], i));
  const std::vector<float> asked = unit_rows(masked, width);
  for (size_t i = 0; i < asked.size() / width; ++i)
    further.push_back(nearest_other(row_of(asked, i), others.size()));
  return membership(alike, further, seed).auc;
}

std::vector<float> read_represented(const run::RowRun& run) {
  const fs::path path = run.folder / task::kRepresentedFile;
  if (!fs::exists(path)) return {};
  const formats::SafetensorsFile file(path);
  const formats::TensorEntry& entry = file.at("rows");
  if (entry.dtype != DType::kF32 || entry.shape.rank() != 2 ||
      entry.shape[1] != static_cast<int64_t>(infer::representation_width(run.config))) {
    throw FormatError(path.string() + ": the rows are of another model",
                      "remove it, or train the run again");
  }
  std::vector<float> rows(static_cast<size_t>(entry.shape.elements()));
  std::memcpy(rows.data(), file.data(entry).data(), entry.bytes);
  return rows;
}

}  // namespace quern::explain
