#include "quern/task/hiding.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace quern::task {
namespace {

/// What the linear model reads.
std::string text_without(const WordedText& text, std::span<const uint8_t> hidden) {
  std::string left;
  for (size_t w = 0; w < text.words.size(); ++w) {
    const features::Word& word = text.words[w];
    if (hidden[w] != 0) {
      left += ' ';  // what stands around it is not one word
    } else {
      left.append(text.text, word.begin, word.end - word.begin);
    }
  }
  return left;
}

}  // namespace

std::vector<ColumnFeatures> features_by_column(const features::ColumnEncoder& encoder) {
  std::vector<ColumnFeatures> columns;
  std::map<std::string, size_t, std::less<>> places;
  const auto of = [&](const std::string& column) -> ColumnFeatures& {
    const auto [found, fresh] = places.emplace(column, columns.size());
    if (fresh) columns.push_back({column, {}, {}});
    return columns[found->second];
  };
  for (size_t i = 0; i < encoder.numbers().size(); ++i)
    of(encoder.numbers()[i].column).numbers.push_back(i);
  for (size_t i = 0; i < encoder.categories().size(); ++i)
    of(encoder.categories()[i].column).categories.push_back(i);
  return columns;
}

void lend_column(std::span<const size_t> numbers, std::span<const size_t> categories,
                 const features::EncodedRows& from, size_t lender, features::EncodedRows& to,
                 size_t row) {
  const auto across = static_cast<size_t>(to.numbers), kinds = static_cast<size_t>(to.categories);
  for (const size_t n : numbers) to.places[row * across + n] = from.places[lender * across + n];
  for (const size_t c : categories)
    to.category_ids[row * kinds + c] = from.category_ids[lender * kinds + c];
}

WordedText read_words(const model::EncoderConfig& config, const features::Tokenizer& tokenizer,
                      std::string_view text) {
  WordedText read;
  const std::vector<uint32_t> ids = tokenizer.encode(text);
  read.words = features::group_words(tokenizer, ids);
  const size_t seen = std::min(ids.size(), static_cast<size_t>(config.trunk.context));
  read.tokens.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(seen));
  // What the tokens stand for: a tokenizer that normalises gives other bytes than the text.
  read.text = tokenizer.decode(ids);
  if (config.ngram_buckets > 0) {
    read.ngrams = features::located_word_ngrams(read.text, kBagOrders, config.ngram_buckets,
                                                static_cast<size_t>(config.ngram_bag));
  }
  return read;
}

void add_text_without(const model::EncoderConfig& config, const WordedText& text,
                      std::span<const uint8_t> hidden, RowInputs& rows) {
  const std::vector<features::Word>& words = text.words;
  if (rows.token_begins.empty()) rows.token_begins.push_back(0);
  for (size_t w = 0; w < words.size(); ++w) {
    const size_t end = std::min(words[w].token_end, text.tokens.size());
    for (size_t t = words[w].token_begin; t < end && hidden[w] == 0; ++t)
      rows.tokens.push_back(text.tokens[t]);
  }
  rows.token_begins.push_back(rows.tokens.size());
  if (config.linear) rows.columns.texts.push_back(text_without(text, hidden));
  if (config.ngram_buckets == 0) return;
  if (rows.ngram_begins.empty()) rows.ngram_begins.push_back(0);
  size_t first = 0;  // word that may touch the n-gram; n-grams come in order of their last word
  for (const features::LocatedNgram& gram : text.ngrams) {
    while (first > 0 && words[first - 1].end > gram.begin) --first;
    while (first < words.size() && words[first].end <= gram.begin) ++first;
    bool whole = true;
    for (size_t w = first; w < words.size() && words[w].begin < gram.end; ++w)
      whole = whole && hidden[w] == 0;
    if (whole) rows.ngrams.push_back(gram.row);
  }
  rows.ngram_begins.push_back(rows.ngrams.size());
}

int64_t patch_side(const features::PictureFeature& picture, int64_t patches) {
  const int64_t side = std::max(picture.height, picture.width);
  return std::max<int64_t>(1, (side + patches - 1) / patches);
}

std::vector<uint32_t> patch_labels(const features::PictureFeature& picture, int64_t patches) {
  const int64_t side = patch_side(picture, patches);
  const int64_t across = (picture.width + side - 1) / side;
  std::vector<uint32_t> labels;
  labels.reserve(static_cast<size_t>(picture.height * picture.width));
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x)
      labels.push_back(static_cast<uint32_t>(y / side * across + x / side));
  return labels;
}

void hide_pixel(const features::PictureFeature& feature, size_t pixel, std::span<uint8_t> picture) {
  const auto channels = static_cast<size_t>(feature.channels);
  for (size_t c = 0; c < channels; ++c)
    picture[pixel * channels + c] = static_cast<uint8_t>(std::lround(255 * feature.mean[c]));
}

}  // namespace quern::task
