#include "quern/features/linear_features.h"

#include <algorithm>
#include <cmath>

#include "quern/features/word_ngrams.h"

namespace quern::features {
namespace {

constexpr int64_t kHashes = int64_t{1} << 30;
constexpr size_t kMostTerms = size_t{1} << 18;  // of a block
constexpr size_t kMostOfText = size_t{1} << 16;
constexpr int64_t kBlocks = 14;  // means of a picture's side

std::vector<int32_t> words_of(const std::string& text, LinearKind kind) {
  return word_ngrams(text, kind == LinearKind::kRich ? 3 : 2, kHashes, kMostOfText);
}

std::vector<int32_t> letters_of(const std::string& text, LinearKind kind) {
  if (kind != LinearKind::kRich) return {};
  return letter_ngrams(text, 2, 5, kHashes, kMostOfText);
}

template <typename TermsOf>
TermBlock fit_block(std::span<const std::string> texts, TermsOf terms_of) {
  std::unordered_map<int32_t, size_t> counts;
  for (const std::string& text : texts) {
    std::vector<int32_t> terms = terms_of(text);
    std::sort(terms.begin(), terms.end());
    terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
    for (const int32_t term : terms) ++counts[term];
  }
  // Terms of one text alone say nothing of others.
  std::vector<std::pair<size_t, int32_t>> kept;
  for (const auto& [term, count] : counts)
    if (count >= 2) kept.emplace_back(count, term);
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (kept.size() > kMostTerms) kept.resize(kMostTerms);
  std::sort(kept.begin(), kept.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  TermBlock block;
  const double all = 1 + static_cast<double>(texts.size());
  for (const auto& [count, term] : kept) {
    block.terms.push_back(term);
    block.idf.push_back(static_cast<float>(1 + std::log(all / (1 + static_cast<double>(count)))));
  }
  return block;
}

}  // namespace

std::string_view name(LinearKind kind) { return kind == LinearKind::kRich ? "rich" : "plain"; }

void TermBlock::add(std::vector<int32_t> found, size_t first, SparseRows& rows) const {
  std::sort(found.begin(), found.end());
  const size_t begin = rows.values.size();
  double squares = 0;
  for (size_t i = 0; i < found.size();) {
    const int32_t term = found[i];
    size_t count = 0;
    for (; i < found.size() && found[i] == term; ++i) ++count;
    const auto at = std::lower_bound(terms.begin(), terms.end(), term);
    if (at == terms.end() || *at != term) continue;
    const auto column = static_cast<size_t>(at - terms.begin());
    const double value =
        (1 + std::log(static_cast<double>(count))) * static_cast<double>(idf[column]);
    rows.add(static_cast<uint32_t>(first + column), static_cast<float>(value));
    squares += value * value;
  }
  const auto scale = static_cast<float>(squares > 0 ? 1 / std::sqrt(squares) : 0);
  for (size_t i = begin; i < rows.values.size(); ++i) rows.values[i] *= scale;
}

LinearFeatures::LinearFeatures(const ColumnEncoder& columns, LinearKind kind, TermBlock words,
                               TermBlock letters)
    : kind_(kind), words_(std::move(words)), letters_(std::move(letters)) {
  for (const NumberFeature& number : columns.numbers()) {
    number_begins_.push_back(width_);
    width_ += kind == LinearKind::kRich ? static_cast<size_t>(number.pieces()) + 2 : 3;
  }
  for (const CategoryFeature& category : columns.categories()) {
    category_begins_.push_back(width_);
    width_ += static_cast<size_t>(category.size());
  }
  const PictureFeature& picture = columns.picture();
  if (picture.present()) {
    const int64_t side = std::max(picture.height, picture.width);
    block_ = std::max<int64_t>(1, (side + kBlocks - 1) / kBlocks);
    picture_begin_ = width_;
    width_ +=
        static_cast<size_t>(blocks(picture.height) * blocks(picture.width) * picture.channels);
  }
  word_begin_ = width_;
  letter_begin_ = word_begin_ + words_.terms.size();
  width_ = letter_begin_ + letters_.terms.size();
}

LinearFeatures LinearFeatures::fit(const ColumnEncoder& columns, std::span<const std::string> texts,
                                   LinearKind kind) {
  return {columns, kind,
          fit_block(texts, [&](const std::string& text) { return words_of(text, kind); }),
          fit_block(texts, [&](const std::string& text) { return letters_of(text, kind); })};
}

SparseRows LinearFeatures::rows(const ColumnEncoder& columns, const EncodedRows& encoded) const {
  SparseRows rows;
  rows.width = width_;
  const size_t numbers = columns.numbers().size();
  const size_t categories = category_begins_.size();
  for (int64_t row = 0; row < encoded.rows; ++row) {
    const auto at = static_cast<size_t>(row);
    add_numbers(rows, columns, encoded.places.data() + at * numbers);
    for (size_t i = 0; i < categories; ++i) {
      const auto id = static_cast<size_t>(encoded.category_ids[at * categories + i]);
      rows.add(static_cast<uint32_t>(category_begins_[i] + id), 1);
    }
    if (block_ > 0) add_pixels(rows, encoded, row);
    if (!encoded.texts.empty()) {
      words_.add(words_of(encoded.texts[at], kind_), word_begin_, rows);
      letters_.add(letters_of(encoded.texts[at], kind_), letter_begin_, rows);
    }
    rows.end_row();
  }
  return rows;
}

void LinearFeatures::add_numbers(SparseRows& rows, const ColumnEncoder& columns,
                                 const float* places) const {
  const auto numbers = columns.numbers();
  for (size_t i = 0; i < numbers.size(); ++i) {
    const NumberFeature& number = numbers[i];
    auto column = static_cast<uint32_t>(number_begins_[i]);
    if (std::isnan(places[i])) {
      rows.add(column, 1);
      continue;
    }
    rows.add(++column, static_cast<float>(number.standardised(places[i])));
    if (kind_ == LinearKind::kPlain) {
      rows.add(++column, places[i] / static_cast<float>(number.pieces()));
      continue;
    }
    const auto passed = static_cast<int64_t>(places[i]);
    for (int64_t piece = 0; piece < passed; ++piece) rows.add(++column, 1);
    if (passed < number.pieces()) rows.add(++column, places[i] - static_cast<float>(passed));
  }
}

void LinearFeatures::add_pixels(SparseRows& rows, const EncodedRows& encoded, int64_t row) const {
  const PictureFeature& f = encoded.picture;
  const uint8_t* picture = encoded.picture_of(static_cast<size_t>(row)).data();
  auto column = static_cast<uint32_t>(picture_begin_);
  for (int64_t top = 0; top < f.height; top += block_) {
    for (int64_t left = 0; left < f.width; left += block_) {
      const int64_t bottom = std::min(top + block_, f.height);
      const int64_t right = std::min(left + block_, f.width);
      for (int64_t c = 0; c < f.channels; ++c) {
        double sum = 0;
        for (int64_t y = top; y < bottom; ++y)
          for (int64_t x = left; x < right; ++x) sum += picture[(y * f.width + x) * f.channels + c];
        const double mean = sum / static_cast<double>((bottom - top) * (right - left)) / 255;
        rows.add(column++, static_cast<float>(mean));
      }
    }
  }
}

}  // namespace quern::features
