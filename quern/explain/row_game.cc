#include "quern/explain/row_game.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace quern::explain {
namespace {

constexpr size_t kFixed = static_cast<size_t>(infer::RowPredictor::kFixedBatch);
constexpr size_t kMostRows = 8 * kFixed;

/// Bytes of the background row's hidden features: equal ones give the same row.
std::string hidden_values(const features::EncodedRows& rows, size_t row,
                          std::span<const size_t> numbers, std::span<const size_t> categories) {
  std::string key;
  const auto append = [&](const auto& value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  for (const size_t i : numbers) append(rows.places[row * static_cast<size_t>(rows.numbers) + i]);
  for (const size_t i : categories)
    append(rows.category_ids[row * static_cast<size_t>(rows.categories) + i]);
  return key;
}

}  // namespace

double RowTarget::of(const run::RowPipeline& pipeline, std::span<const float> answer) const {
  if (scale == Scale::kValue)
    return pipeline.mean + pipeline.deviation * static_cast<double>(answer.front());
  const auto p = static_cast<double>(answer[output]);
  if (scale == Scale::kProbability) return p;
  const double inside = std::clamp(p, kLeastOdds, 1 - kLeastOdds);
  return std::log(inside / (1 - inside));
}

RowGame::RowGame(const run::RowRun& run, infer::RowPredictor& predictor, const ExplainedRow& row,
                 features::EncodedRows background, RowTarget target)
    : run_(run),
      predictor_(predictor),
      row_(row),
      background_(std::move(background)),
      target_(target),
      most_rows_(run.config.has_image() ? kFixed : kMostRows) {
  pending_.columns.numbers = row.inputs.columns.numbers;
  pending_.columns.categories = row.inputs.columns.categories;
  pending_.columns.picture = row.inputs.columns.picture;
}

std::string RowGame::mask_policy() const {
  std::string policy;
  const auto also = [&](std::string_view sentence) {
    policy += policy.empty() ? "" : " ";
    policy += sentence;
  };
  if (run_.config.columns() > 0) {
    also("A hidden column takes its values from " + std::to_string(background_.rows) +
         " background rows, and the answers are averaged.");
  }
  if (run_.config.has_text())
    also("A hidden word's tokens are left out, and the n-grams that touch it.");
  if (run_.config.has_image())
    also("A hidden part of the picture has the mean colour of the training pictures.");
  if (run_.config.linear)
    also("The linear model that the answer starts from scores the row as it then stands.");
  return policy;
}

void RowGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  std::ranges::fill(values, 0.0);
  for (size_t i = 0; i < coalitions.count(); ++i) {
    add(coalitions[i], i);
    if (shares_.size() >= most_rows_) flush(values);
  }
  if (!shares_.empty()) flush(values);
}

void RowGame::add(std::span<const uint8_t> shown, size_t coalition) {
  std::vector<size_t> numbers, categories;  // hidden
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (shown[i] != 0) continue;
    const RowPart& part = row_.parts[i];
    numbers.insert(numbers.end(), part.numbers.begin(), part.numbers.end());
    categories.insert(categories.end(), part.categories.begin(), part.categories.end());
  }
  const auto ask = [&](size_t background, double weight) {
    add_row(shown, background);
    shares_.push_back({coalition, weight});
  };
  if (numbers.empty() && categories.empty()) {
    ask(0, 1);
    return;
  }
  // Background rows that agree in what is hidden are asked once.
  const auto rows = static_cast<size_t>(background_.rows);
  std::map<std::string, size_t> places;
  std::vector<std::pair<size_t, size_t>> distinct;  // row, how many agree
  for (size_t b = 0; b < rows; ++b) {
    const auto [found, fresh] =
        places.emplace(hidden_values(background_, b, numbers, categories), distinct.size());
    if (fresh) distinct.emplace_back(b, 0);
    ++distinct[found->second].second;
  }
  for (const auto& [row, count] : distinct)
    ask(row, static_cast<double>(count) / static_cast<double>(rows));
}

void RowGame::add_row(std::span<const uint8_t> shown, size_t background) {
  add_columns(shown, background);
  if (run_.config.has_text()) add_text(shown);
  if (run_.config.has_image()) add_picture(shown);
  ++pending_.columns.rows;
}

task::RowInputs RowGame::rows_of(const Coalitions& coalitions, size_t background) {
  for (size_t i = 0; i < coalitions.count(); ++i) add_row(coalitions[i], background);
  task::RowInputs rows = pending_;
  clear();
  rows.linear = task::linear_scores(rows.columns, run_);
  return rows;
}

void RowGame::add_columns(std::span<const uint8_t> shown, size_t background) {
  const features::EncodedRows& own = row_.inputs.columns;
  std::vector<float>& places = pending_.columns.places;
  std::vector<int32_t>& ids = pending_.columns.category_ids;
  const size_t first_place = places.size(), first_id = ids.size();
  places.insert(places.end(), own.places.begin(), own.places.end());
  ids.insert(ids.end(), own.category_ids.begin(), own.category_ids.end());
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (shown[i] != 0) continue;
    for (const size_t n : row_.parts[i].numbers)
      places[first_place + n] =
          background_.places[background * static_cast<size_t>(background_.numbers) + n];
    for (const size_t c : row_.parts[i].categories)
      ids[first_id + c] =
          background_.category_ids[background * static_cast<size_t>(background_.categories) + c];
  }
}

void RowGame::add_text(std::span<const uint8_t> shown) {
  std::vector<uint8_t> hidden(row_.words.size(), 0);
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (row_.parts[i].kind == RowPart::Kind::kWord && shown[i] == 0) hidden[row_.parts[i].word] = 1;
  }
  if (pending_.token_begins.empty()) pending_.token_begins.push_back(0);
  for (size_t w = 0; w < row_.words.size(); ++w) {
    const Word& word = row_.words[w];
    const size_t end = std::min(word.token_end, row_.tokens.size());
    for (size_t t = word.token_begin; t < end && hidden[w] == 0; ++t)
      pending_.tokens.push_back(row_.tokens[t]);
  }
  pending_.token_begins.push_back(pending_.tokens.size());
  if (run_.config.linear) pending_.columns.texts.push_back(text_without(hidden));
  if (run_.config.ngram_buckets == 0) return;
  if (pending_.ngram_begins.empty()) pending_.ngram_begins.push_back(0);
  size_t first = 0;  // word that may touch the n-gram; n-grams come in order of their last word
  for (const features::LocatedNgram& gram : row_.ngrams) {
    while (first > 0 && row_.words[first - 1].end > gram.begin) --first;
    while (first < row_.words.size() && row_.words[first].end <= gram.begin) ++first;
    bool whole = true;
    for (size_t w = first; w < row_.words.size() && row_.words[w].begin < gram.end; ++w)
      whole = whole && hidden[w] == 0;
    if (whole) pending_.ngrams.push_back(gram.row);
  }
  pending_.ngram_begins.push_back(pending_.ngrams.size());
}

std::string RowGame::text_without(std::span<const uint8_t> hidden) const {
  std::string text;
  for (size_t w = 0; w < row_.words.size(); ++w) {
    const Word& word = row_.words[w];
    if (hidden[w] != 0) {
      text += ' ';  // what stands around it is not one word
    } else {
      text.append(row_.text, word.begin, word.end - word.begin);
    }
  }
  return text;
}

void RowGame::add_picture(std::span<const uint8_t> shown) {
  const features::EncodedRows& own = row_.inputs.columns;
  const features::PictureFeature& picture = own.picture;
  const auto channels = static_cast<size_t>(picture.channels);
  features::Pixels& pixels = pending_.columns.pixels;
  const size_t first = pixels.size();
  pixels.insert(pixels.end(), own.pixels.begin(), own.pixels.end());
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (shown[i] != 0) continue;
    for (const uint32_t pixel : row_.parts[i].pixels) {
      for (size_t c = 0; c < channels; ++c) {
        pixels[first + pixel * channels + c] =
            static_cast<uint8_t>(std::lround(255 * picture.mean[c]));
      }
    }
  }
}

void RowGame::flush(std::span<double> values) {
  pending_.linear = task::linear_scores(pending_.columns, run_);
  const std::vector<float> answers = predictor_.predict_fixed(pending_, run_.pipeline.temperature);
  const auto outputs = static_cast<size_t>(run_.config.outputs);
  for (size_t i = 0; i < shares_.size(); ++i) {
    const double value =
        target_.of(run_.pipeline, std::span(answers).subspan(i * outputs, outputs));
    values[shares_[i].coalition] += shares_[i].weight * value;
  }
  answered_ += shares_.size();
  shares_.clear();
  clear();
}

void RowGame::clear() {
  pending_.columns.rows = 0;
  pending_.columns.places.clear();
  pending_.columns.category_ids.clear();
  pending_.columns.pixels.clear();
  pending_.columns.texts.clear();
  pending_.tokens.clear();
  pending_.token_begins.clear();
  pending_.ngrams.clear();
  pending_.ngram_begins.clear();
}

}  // namespace quern::explain
