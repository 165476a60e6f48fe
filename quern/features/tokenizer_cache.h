#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "quern/features/tokenizer_bpe.h"
#include "quern/features/tokenizer_scanner.h"

namespace quern::features {

namespace internal {

/// By length: what keeps the bytes [before, length) of a key in their word.
constexpr std::array<uint64_t, 16> key_masks(size_t before) {
  std::array<uint64_t, 16> masks{};
  for (size_t length = before + 1; length < 16; ++length) {
    const size_t bytes = length - before;
    masks[length] = bytes >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * bytes)) - 1;
  }
  return masks;
}
inline constexpr std::array<uint64_t, 16> kLowMask = key_masks(0), kHighMask = key_masks(8);

}  // namespace internal

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
    uint8_t padded[16] = {};
    if (end - p < 16) {
      std::memcpy(padded, p, length);
      p = padded;
    }
    const uint64_t low = load_little_endian(p) & internal::kLowMask[length];
    const uint64_t high = load_little_endian(p + 8) & internal::kHighMask[length];
    return {low, high | uint64_t{length} << 56};
  }

  /// The entry's ids, or null.
  const Ids* find(Key key) const {
    if (!buckets_) return nullptr;
    const auto& entries = buckets_[place(key)].entries;
    const auto is = [&](const Entry& e) {
      return ((e.key.low ^ key.low) | (e.key.high ^ key.high)) == 0;
    };
    const bool first = is(entries[0]), second = is(entries[1]);
    return (first | second) ? &entries[second].ids : nullptr;
  }

  void insert(Key key, std::span<const uint32_t> ids) {
    if (ids.size() > kIds) return;
    if (!buckets_) buckets_ = allocate();
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
  /// On one huge page where there are such: looking up words all over two megabytes otherwise
  /// misses the translation buffer, and first touching them faults 512 times.
  struct Release {
    void operator()(Bucket* buckets) const { std::free(buckets); }
  };
  static std::unique_ptr<Bucket[], Release> allocate() {
    constexpr size_t kBytes = kBuckets * sizeof(Bucket);
    void* memory = std::aligned_alloc(kBytes, kBytes);
    if (!memory) throw std::bad_alloc();
#if defined(__linux__)
    madvise(memory, kBytes, MADV_HUGEPAGE);
#endif
    auto* buckets = static_cast<Bucket*>(memory);
    std::uninitialized_value_construct_n(buckets, kBuckets);
    return std::unique_ptr<Bucket[], Release>(buckets);
  }
  std::unique_ptr<Bucket[], Release> buckets_;
};

}  // namespace quern::features
