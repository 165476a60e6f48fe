#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quern::features {

/// The rows of the hashed n-gram table that the token at `position` looks up: out[j] is the bucket
/// of the j + 2 tokens that end there, or -1 where fewer stand before it in `tokens` (the window
/// that the model sees). Training and generation both call this, so that they agree.
void ngram_ids(std::span<const uint32_t> tokens, size_t position, int64_t buckets,
               std::span<int32_t> out);

}  // namespace quern::features
