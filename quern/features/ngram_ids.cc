#include "quern/features/ngram_ids.h"

namespace quern::features {

void ngram_ids(std::span<const uint32_t> tokens, size_t position, int64_t buckets,
               std::span<int32_t> out) {
  // The finaliser of MurmurHash3 after each token mixes every bit into every bucket; the order is
  // part of the hash, so that "a b" and "x a b" do not follow one another around.
  uint64_t hash = tokens[position] + 1;
  for (size_t j = 0; j < out.size(); ++j) {
    if (position < j + 1) {
      out[j] = -1;
      continue;
    }
    hash = hash * 0x9E3779B97F4A7C15ULL + tokens[position - j - 1] + 1;
    uint64_t mixed = hash + j;
    mixed = (mixed ^ (mixed >> 33)) * 0xFF51AFD7ED558CCDULL;
    mixed = (mixed ^ (mixed >> 33)) * 0xC4CEB9FE1A85EC53ULL;
    mixed ^= mixed >> 33;
    out[j] = static_cast<int32_t>(mixed % static_cast<uint64_t>(buckets));
  }
}

}  // namespace quern::features
