#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quern/features/columns.h"
#include "quern/features/sparse_rows.h"

namespace quern::features {

/// What a linear model is given of a row.
enum class LinearKind : uint8_t {
  kPlain,  // each number's place, scaled to [0, 1], and its standardised value; words and word
           // pairs
  kRich,   // each number's piecewise-linear code beside its value; word triples and letters too
};
std::string_view name(LinearKind kind);

/// Terms of texts with their weights: tf-idf, tf as 1 + log of the count, unit length a row (Salton
/// & Buckley 1988).
struct TermBlock {
  std::vector<int32_t> terms;  // hashes, rising
  std::vector<float> idf;      // 1 + log((1 + texts) / (1 + texts with the term))

  /// Adds the terms of one text that the block knows, as columns from `first` on.
  void add(std::vector<int32_t> found, size_t first, SparseRows& rows) const;
};

/// The features of a linear model over rows: numbers with a flag where one is missing, one-hot
/// categories, pictures as at most 14 × 14 means of blocks, and two blocks of terms, words and
/// letters. Terms of one text alone are left out, as are the rarest beyond 262,144.
class LinearFeatures {
 public:
  static LinearFeatures fit(const ColumnEncoder& columns, std::span<const std::string> texts,
                            LinearKind kind);
  /// As fit() made them: restored from what a run keeps.
  LinearFeatures(const ColumnEncoder& columns, LinearKind kind, TermBlock words, TermBlock letters);
  LinearFeatures() = default;

  SparseRows rows(const ColumnEncoder& columns, const EncodedRows& encoded) const;

  LinearKind kind() const { return kind_; }
  size_t width() const { return width_; }
  const TermBlock& words() const { return words_; }
  const TermBlock& letters() const { return letters_; }

 private:
  void add_numbers(SparseRows& rows, const ColumnEncoder& columns, const float* places) const;
  void add_pixels(SparseRows& rows, const EncodedRows& encoded, int64_t row) const;
  int64_t blocks(int64_t side) const { return (side + block_ - 1) / block_; }

  LinearKind kind_ = LinearKind::kPlain;
  size_t width_ = 0;
  std::vector<size_t> number_begins_, category_begins_;
  int64_t block_ = 0;  // pixels of a block's side; 0: no pictures
  size_t picture_begin_ = 0, word_begin_ = 0, letter_begin_ = 0;
  TermBlock words_, letters_;
};

}  // namespace quern::features
