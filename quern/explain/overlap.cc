#include "quern/explain/overlap.h"

#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>

#include "quern/base/hash.h"

namespace quern::explain {
namespace {

/// A hash of each cell, salted by its column, so that the hash of a row is their sum and that of a
/// row without a column a difference.
std::vector<uint64_t> cell_hashes(const std::vector<std::string>& columns, const RowsOf& of,
                                  size_t row) {
  std::vector<uint64_t> hashes;
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto column = static_cast<size_t>(of.table->find(columns[i]));
    hashes.push_back(hash64(of.table->cell(row, column), i + 1));
  }
  return hashes;
}

uint64_t sum_of(const std::vector<uint64_t>& hashes) {
  uint64_t sum = 0;
  for (const uint64_t one : hashes) sum += one;
  return sum;
}

constexpr uint64_t kLeftOut = 0x9E3779B97F4A7C15;

}  // namespace

Overlap overlap(const std::vector<std::string>& columns, const RowsOf& known,
                const RowsOf& looked_at) {
  constexpr size_t kFewColumns = 4;
  const bool near = columns.size() >= kFewColumns;
  std::unordered_map<uint64_t, size_t> whole;
  std::unordered_set<uint64_t> without;
  for (const size_t row : known.rows) {
    const std::vector<uint64_t> hashes = cell_hashes(columns, known, row);
    const uint64_t sum = sum_of(hashes);
    whole.emplace(sum, row);
    for (size_t i = 0; near && i < hashes.size(); ++i) {
      without.insert(sum - hashes[i] + kLeftOut * (i + 1));
    }
  }
  Overlap result;
  result.rows = looked_at.rows.size();
  for (const size_t row : looked_at.rows) {
    const std::vector<uint64_t> hashes = cell_hashes(columns, looked_at, row);
    const uint64_t sum = sum_of(hashes);
    if (const auto twin = whole.find(sum); twin != whole.end()) {
      if (result.exact++ == 0) {
        result.example =
            fmt::format("{} and {}", looked_at.table->where(row), known.table->where(twin->second));
      }
      continue;
    }
    bool found = false;
    for (size_t i = 0; near && !found && i < hashes.size(); ++i) {
      found = without.contains(sum - hashes[i] + kLeftOut * (i + 1));
    }
    result.near += found ? 1 : 0;
  }
  return result;
}

}  // namespace quern::explain
