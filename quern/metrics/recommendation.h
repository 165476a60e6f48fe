#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/metrics/interval.h"

namespace quern::metrics {

/// The 1-based rank of `item` among the scores (items), index 0 (padding) and `-infinity` left out.
/// Equal scores share the mean of their places, rounded up, so that a constant model is not
/// flattered. 0: the item has no place (left out, or no number).
uint32_t rank_of(std::span<const float> scores, uint32_t item);

/// hr@k, ndcg@k (one relevant item: 1 / log2(rank + 1); Järvelin & Kekäläinen 2002) and mrr of
/// 1-based ranks (users), 0: not ranked; each with a 95 % interval over users.
std::vector<Score> score_ranks(std::span<const uint32_t> ranks, uint32_t k, uint64_t seed);

/// The k items with the highest finite scores, best first, equal ones by rising id; index 0 is left
/// out.
std::vector<uint32_t> top_items(std::span<const float> scores, size_t k);

/// The share of `items` that stands in any user's list; a 95 % interval over users. A resample
/// holds fewer different users, so that its lists cover less: the interval is moved by what that
/// takes.
Score coverage(const std::vector<std::vector<uint32_t>>& lists, size_t items, uint32_t k,
               uint64_t seed);

/// What the user takes most, of what was taken equally often the latest, then what all take most
/// (GP-TopFreq of Hu et al. 2020): `taken` (items) counts item id − 1 in training. Fills scores
/// (items + 1).
void score_own_items(std::span<const uint32_t> history, std::span<const uint64_t> taken,
                     std::span<float> scores);

constexpr size_t kMostTaken = 1000;  // of a history that count where items go together

/// The different items of a history, rising; of a long one its last `most`.
std::vector<uint32_t> different_items(std::span<const uint32_t> history, size_t most = kMostTaken);
/// Bytes of the different items of every history, at most.
size_t most_bytes_taken(std::span<const std::span<const uint32_t>> histories);

/// Items that go together by the users who took both: cosine of the item columns of the user-item
/// matrix (Sarwar et al. 2001), the `neighbours` nearest of each item kept.
class ItemNeighbours {
 public:
  static constexpr size_t kNeighbours = 200;
  /// Histories (ids 1 … items). Of a long history the last 1,000 different items count, so that
  /// time stays linear in users.
  ItemNeighbours(std::span<const std::span<const uint32_t>> histories, uint32_t items,
                 size_t neighbours = kNeighbours);
  /// Bytes that making one takes at most, with room that allocation loses.
  static size_t most_bytes(std::span<const std::span<const uint32_t>> histories, uint32_t items,
                           size_t neighbours = kNeighbours);
  /// Adds up the similarities to the items of a history, into scores (items + 1).
  void score(std::span<const uint32_t> history, std::span<float> scores) const;

 private:
  struct Near {
    uint32_t item;
    float similarity;
  };
  std::vector<std::vector<Near>> near_;
};

}  // namespace quern::metrics
