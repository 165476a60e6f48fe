#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "quern/tensor/tensor.h"

namespace quern::task {

/// A stream of token ids, wherever it lies (memory, a mapped cache).
struct TokenStream {
  uint64_t tokens = 0;
  std::function<void(uint64_t begin, std::span<uint32_t> out)> read;
};

/// The inputs of a traced graph that a batch of windows fills. `ngram_ids` may be absent.
struct WindowBatch {
  TensorView ids;        // (B,T) i32
  TensorView targets;    // (B,T) i32, -1: not counted
  TensorView ngram_ids;  // (B,T,G) i32
  int64_t ngram_buckets = 0;
};

/// Token dropout: input tokens (never targets) replaced by uniform ones at this rate.
struct TokenNoise {
  double rate = 0;
  int64_t vocabulary = 1;
};

/// Cuts a stream of at least two tokens into training windows of `length` tokens and their
/// successors. Every epoch takes each window of a new phase once, in a new order; all follows from
/// (seed, sample index), so there is no iterator to save.
class TrainingWindows {
 public:
  TrainingWindows(TokenStream stream, int64_t length, uint64_t seed);

  /// Targets of one window: `length`, fewer only where the stream is shorter.
  int64_t targets_per_window() const;
  /// Windows of one epoch.
  uint64_t windows() const { return windows_; }

  /// Fills row b with the sample of index first + b.
  void fill(uint64_t first, const WindowBatch& batch, const TokenNoise& noise = {});
  /// Where the window of a sample begins in the stream.
  uint64_t offset_of(uint64_t sample) const;

 private:
  TokenStream stream_;
  int64_t length_;
  uint64_t seed_;
  uint64_t windows_ = 1;
  std::vector<uint32_t> buffer_;
};

/// Cuts a stream into consecutive windows, so that each token but the first is predicted once.
class EvaluationWindows {
 public:
  EvaluationWindows(TokenStream stream, int64_t length);
  uint64_t windows() const;
  uint64_t targets() const { return stream_.tokens > 0 ? stream_.tokens - 1 : 0; }
  /// Fills row b with window first + b · stride; rows past the end are all padding. Returns how
  /// many targets count.
  int64_t fill(uint64_t first, uint64_t stride, const WindowBatch& batch);

 private:
  TokenStream stream_;
  int64_t length_;
  std::vector<uint32_t> buffer_;
};

/// Writes one row: `targets` tokens from `begin` and their successors, then padding.
void fill_row(const TokenStream& stream, uint64_t begin, int64_t targets, int64_t row,
              const WindowBatch& batch, std::vector<uint32_t>& buffer);

/// The n-gram rows of one row's first `tokens` inputs, where the batch has any.
void fill_ngrams(int64_t row, int64_t tokens, const WindowBatch& batch,
                 std::vector<uint32_t>& buffer);

/// A permutation of [0, count), index -> place, fixed by seed and round: a Feistel network over the
/// next power of four, walked until the value falls into the range (Black & Rogaway 2002, "Ciphers
/// with arbitrary finite domains").
uint64_t permute(uint64_t index, uint64_t count, uint64_t seed, uint32_t round);

}  // namespace quern::task
