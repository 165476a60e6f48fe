#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/features/columns.h"
#include "quern/features/tokenizer.h"
#include "quern/features/word_ngrams.h"
#include "quern/features/words.h"
#include "quern/model/encoder.h"
#include "quern/task/rows.h"

/// What it means to hide a part of a row: the same when a model is trained on masked rows and when
/// one of its answers is explained.
namespace quern::task {

/// The features that a column of the table gives; a date gives several.
struct ColumnFeatures {
  std::string column;
  std::vector<size_t> numbers, categories;  // places among the encoder's
};
/// Columns in the order in which the encoder first names them.
std::vector<ColumnFeatures> features_by_column(const features::ColumnEncoder& encoder);

/// A hidden column: the features of row `row` of `to` become those of row `lender` of `from`.
void lend_column(std::span<const size_t> numbers, std::span<const size_t> categories,
                 const features::EncodedRows& from, size_t lender, features::EncodedRows& to,
                 size_t row);

/// A text word by word.
struct WordedText {
  std::string text;                   // what the words' bytes are places in
  std::vector<features::Word> words;  // of all of it
  std::vector<uint32_t> tokens;       // as many as the model reads
  std::vector<features::LocatedNgram> ngrams;
};
WordedText read_words(const model::EncoderConfig& config, const features::Tokenizer& tokenizer,
                      std::string_view text);

/// Adds the text to `rows`, as the next row's, without its hidden words: their tokens are left out
/// and those after them move up, n-grams that touch them are left out, and where answers start from
/// a linear model, so are their bytes. `hidden`: a flag a word.
void add_text_without(const model::EncoderConfig& config, const WordedText& text,
                      std::span<const uint8_t> hidden, RowInputs& rows);

/// Patches of a picture's longer side, unless told otherwise.
inline constexpr int64_t kPatches = 8;
/// Pixels of a patch's side.
int64_t patch_side(const features::PictureFeature& picture, int64_t patches);
/// Which patch each pixel is of (height · width), row by row.
std::vector<uint32_t> patch_labels(const features::PictureFeature& picture, int64_t patches);
/// A hidden pixel: the mean colour of the training pictures. `picture`: (height, width, channels).
void hide_pixel(const features::PictureFeature& feature, size_t pixel, std::span<uint8_t> picture);

}  // namespace quern::task
