#include "quern/explain/masked_novelty.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "quern/base/random.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/membership.h"

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
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < rows; ++i)
      if (i != left_out) least = std::min(least, distance(encoder, one, known[i]));
    return least;
  };
  std::vector<double> alike, masked;
  for (size_t i = 0; i < rows; ++i) alike.push_back(nearest_other(known[i], i));
  const Features own = features_of(row.inputs.columns, 0);
  std::vector<uint8_t> shown(columns.size());
  for (size_t i = 0; i < kDraws; ++i) {
    Random random(seed, Stream::kCoalition, i);
    random_subset(1 + random.below(columns.size() - 1), random, shown);
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

}  // namespace quern::explain
