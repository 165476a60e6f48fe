#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "quern/features/tokenizer_bpe.h"

namespace quern::features {

/// Remembers the ids of short pieces: up to 15 bytes, up to 4 ids. Two entries fill a cache line;
/// the older of the two makes room. Fixed in size.
class PieceCache {
 public:
  static constexpr size_t kLongest = 15;
  static constexpr size_t kIds = 4;

  struct Key {
    uint64_t low, high;  ///< the bytes, and the length in the topmost byte
  };
  using Ids = std::array<uint32_t, kIds>;  ///< kNoToken after the last

  /// 1 <= length <= kLongest; reads no byte at or after `end`.
  static Key key(const uint8_t* p, size_t length, const uint8_t* end) {
    uint64_t word[2];
    if (end - p >= 16) {
      std::memcpy(word, p, 16);
    } else {
      word[0] = word[1] = 0;
      std::memcpy(word, p, length);
    }
    if constexpr (std::endian::native == std::endian::big) {
      word[0] = __builtin_bswap64(word[0]);
      word[1] = __builtin_bswap64(word[1]);
    }
    const uint64_t low = length < 8 ? word[0] & ((uint64_t{1} << (8 * length)) - 1) : word[0];
    const uint64_t high =
        length > 8 ? word[1] & ((uint64_t{1} << (8 * (length - 8))) - 1) : uint64_t{0};
    return {low, high | uint64_t{length} << 56};
  }

  /// The entry's ids, or null.
  const Ids* find(Key key) const {
    if (buckets_.empty()) return nullptr;
    const Bucket& bucket = buckets_[place(key)];
    for (const Entry& entry : bucket.entries) {
      if (entry.key.low == key.low && entry.key.high == key.high) return &entry.ids;
    }
    return nullptr;
  }

  void insert(Key key, std::span<const uint32_t> ids) {
    if (ids.size() > kIds) return;
    if (buckets_.empty()) buckets_.resize(kBuckets);
    Bucket& bucket = buckets_[place(key)];
    bucket.entries[1] = bucket.entries[0];
    Entry& entry = bucket.entries[0];
    entry.key = key;
    entry.ids.fill(kNoToken);
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
  }

 private:
  static constexpr int kBits = 14;
  static constexpr size_t kBuckets = size_t{1} << kBits;
  struct Entry {
    Key key{};
    Ids ids{};
  };
  struct alignas(64) Bucket {
    Entry entries[2];
  };
  static size_t place(Key key) {
    const uint64_t mixed =
        (key.low ^ std::rotl(key.high, 29)) * 0x9E3779B97F4A7C15 ^ key.high * 0xC2B2AE3D27D4EB4F;
    return (mixed ^ mixed >> 29) * 0x9E3779B97F4A7C15 >> (64 - kBits);
  }
  std::vector<Bucket> buckets_;
};

}  // namespace quern::features
