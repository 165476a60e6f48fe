#include "quern/task/row_masker.h"

#include <algorithm>
#include <array>

#include "quern/base/random.h"

namespace quern::task {

RowMasker::RowMasker(const model::EncoderConfig& config, const Fitted& fitted,
                     std::vector<std::string> texts, double rate, uint64_t seed)
    : config_(config),
      fitted_(fitted),
      texts_(std::move(texts)),
      rate_(rate),
      seed_(seed),
      columns_(features_by_column(*fitted.columns)) {
  if (config.has_image()) patches_ = patch_labels(fitted.columns->picture(), kPatches);
}

bool RowMasker::masks(uint64_t sample) const {
  return Random(seed_, Stream::kMask, sample).uniform() < rate_;
}

RowInputs RowMasker::mask(const RowInputs& rows, size_t row, std::span<const int64_t> lenders,
                          uint64_t sample) const {
  Random random(seed_, Stream::kMask, sample);
  random.uniform();  // that the row is masked
  const double share = random.uniform();
  const auto hidden = [&] { return random.uniform() < share; };
  constexpr int kTries = 32;  // for another row; there may be none
  auto lender = static_cast<size_t>(lenders[random.below(lenders.size())]);
  for (int i = 0; lender == row && i < kTries; ++i)
    lender = static_cast<size_t>(lenders[random.below(lenders.size())]);

  RowInputs one;
  one.columns = rows.columns.select(std::array{row});
  for (const ColumnFeatures& column : columns_) {
    if (hidden())
      lend_column(column.numbers, column.categories, rows.columns, lender, one.columns, 0);
  }
  if (config_.has_text()) {
    const WordedText text = read_words(config_, *fitted_.tokenizer, texts_[row]);
    std::vector<uint8_t> gone(text.words.size());
    for (size_t w = 0; w < gone.size(); ++w) gone[w] = hidden() && !text.words[w].special ? 1 : 0;
    add_text_without(config_, text, gone, one);
  }
  if (config_.has_image()) {
    std::vector<uint8_t> gone(size_t{1} + *std::max_element(patches_.begin(), patches_.end()));
    for (uint8_t& patch : gone) patch = hidden() ? 1 : 0;
    for (size_t pixel = 0; pixel < patches_.size(); ++pixel)
      if (gone[patches_[pixel]] != 0) hide_pixel(one.columns.picture, pixel, one.columns.pixels);
  }
  if (fitted_.linear != nullptr)
    one.linear = fitted_.linear->scores_like(row, *fitted_.columns, one.columns);
  return one;
}

}  // namespace quern::task
