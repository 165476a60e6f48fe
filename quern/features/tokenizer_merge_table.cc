#include "quern/features/tokenizer_merge_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "quern/base/error.h"

namespace quern::features {

MergeTable::MergeTable(std::span<const formats::Merge> merges) {
  std::unordered_map<uint64_t, uint64_t> ranks;
  ranks.reserve(merges.size());
  results_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const formats::Merge& merge = merges[rank];
    if (std::max({merge.left, merge.right, merge.result}) >= kTokens - 1 || rank >= kRankMask) {
      throw Error(
          "too_many_tokens",
          fmt::format("merge {} is beyond {} tokens or {} merges", rank, kTokens - 1, kRankMask),
          "no tokenizer in use is as large; the file is damaged");
    }
    ranks[uint64_t{merge.left} << kTokenBits | merge.right] = rank;
    results_.push_back(merge.result);
  }
  std::vector<uint64_t> entries;
  entries.reserve(ranks.size());
  for (const auto& [key, rank] : ranks) entries.push_back(key << kRankBits | rank);
  std::sort(entries.begin(), entries.end());
  const int slot_bits = std::max(4, static_cast<int>(std::bit_width(entries.size() * 2)));
  slot_shift_ = 32 - slot_bits;
  group_shift_ = 64 - std::max(1, slot_bits - 3);
  for (uint64_t attempt = 1; attempt <= 32; ++attempt) {
    seed_ = (0x9E3779B97F4A7C15 * attempt) | 1;
    if (build(entries)) return;
  }
  throw Error("too_many_tokens", "the merges cannot be indexed",
              "the tokenizer.json was made to be hard to read; get it from its authors");
}

/// Groups from large to small, each with the first factor that puts its keys into free slots.
bool MergeTable::build(std::span<const uint64_t> entries) {
  slots_.assign(size_t{1} << (32 - slot_shift_), kFree);
  factors_.assign(size_t{1} << (64 - group_shift_), 1);
  std::vector<std::vector<uint64_t>> groups(factors_.size());
  for (const uint64_t entry : entries) groups[group(hash(entry >> kRankBits))].push_back(entry);
  std::vector<uint32_t> order(groups.size());
  for (uint32_t g = 0; g < order.size(); ++g) order[g] = g;
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return groups[a].size() > groups[b].size(); });
  std::vector<size_t> taken;
  for (const uint32_t g : order) {
    if (groups[g].empty()) break;
    uint32_t factor = 1;
    bool placed = false;
    for (int attempt = 0; attempt < 4096 && !placed; ++attempt) {
      factor = factor * 1664525 + 1013904222;  // stays odd
      taken.clear();
      placed = true;
      for (const uint64_t entry : groups[g]) {
        const size_t at = slot(hash(entry >> kRankBits), factor);
        placed = slots_[at] == kFree && std::find(taken.begin(), taken.end(), at) == taken.end();
        if (!placed) break;
        taken.push_back(at);
      }
    }
    if (!placed) return false;
    factors_[g] = factor;
    for (size_t i = 0; i < taken.size(); ++i) slots_[taken[i]] = groups[g][i];
  }
  return true;
}

}  // namespace quern::features
