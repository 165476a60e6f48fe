#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quern/formats/tokenizer_json.h"

namespace quern::features {

inline constexpr uint32_t kNoToken = 0xFFFFFFFF;

/// (left, right) to the rank of their merge, by a hash without collisions (hash, displace:
/// Belazzougui, Botelho, Dietzfelbinger, ESA 2009): one comparison and no loop, for probing
/// mispredicts on most of the pairs of a text, which do not merge.
class MergeTable {
 public:
  static constexpr uint32_t kNoRank = 0xFFFFFFFF;
  static constexpr int kTokenBits = 21;
  static constexpr int kRankBits = 22;
  static constexpr uint64_t kTokens = uint64_t{1} << kTokenBits;  ///< ids are below

  /// Of a pair listed twice the last rank counts, as in Hugging Face. Throws
  /// Error("too_many_tokens") for an id of 2 million or 4 million merges.
  explicit MergeTable(std::span<const formats::Merge> merges);

  /// kNoRank: the pair does not merge.
  uint32_t rank(uint32_t left, uint32_t right) const {
    const uint64_t key = uint64_t{left} << kTokenBits | right;
    const uint64_t slot = slots_[place(key)];
    return slot >> kRankBits == key ? static_cast<uint32_t>(slot & kRankMask) : kNoRank;
  }
  uint32_t ranks() const { return static_cast<uint32_t>(results_.size()); }
  uint32_t result(uint32_t rank) const { return results_[rank]; }

 private:
  static constexpr uint64_t kRankMask = (uint64_t{1} << kRankBits) - 1;
  static constexpr uint64_t kFree =
      ~uint64_t{0};  ///< no pair: 42 ones would be two ids of 2^21 - 1

  uint64_t hash(uint64_t key) const { return (key ^ key >> 19) * seed_; }
  size_t group(uint64_t hash) const { return hash >> group_shift_; }
  size_t slot(uint64_t hash, uint32_t factor) const {
    return static_cast<uint32_t>(static_cast<uint32_t>(hash >> 8) * factor) >> slot_shift_;
  }
  size_t place(uint64_t key) const {
    const uint64_t h = hash(key);
    return slot(h, factors_[group(h)]);
  }
  bool build(std::span<const uint64_t> entries);

  std::vector<uint64_t> slots_;    ///< key, then rank
  std::vector<uint32_t> factors_;  ///< by group: what spreads its keys over free slots
  std::vector<uint32_t> results_;  ///< by rank
  uint64_t seed_ = 0;
  int group_shift_ = 0;
  int slot_shift_ = 0;
};

}  // namespace quern::features
