#include "quern/explain/row_game.h"

#include <algorithm>
#include <cmath>

namespace quern::explain {
namespace {

constexpr int64_t kFixed = infer::RowPredictor::kFixedBatch;
constexpr int64_t kMostRows = 8 * kFixed;

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

size_t RowGame::cases() const { return std::max<size_t>(1, static_cast<size_t>(background_.rows)); }

void RowGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  std::ranges::fill(values, 0.0);
  for (size_t i = 0; i < coalitions.count(); ++i) {
    const size_t rows = hides_columns(coalitions[i]) ? cases() : 1;
    for (size_t b = 0; b < rows; ++b) ask(coalitions[i], b, i, 1 / static_cast<double>(rows));
    if (pending_.columns.rows >= most_rows_) flush(values);
  }
  flush(values);
}

void RowGame::evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                             std::span<double> values) {
  std::ranges::fill(values, 0.0);
  for (size_t i = 0; i < coalitions.count(); ++i) {
    ask(coalitions[i], case_of[i], i, 1);
    if (pending_.columns.rows >= most_rows_) flush(values);
  }
  flush(values);
}

bool RowGame::hides_columns(std::span<const uint8_t> shown) const {
  for (size_t i = 0; i < row_.parts.size(); ++i)
    if (shown[i] == 0 && row_.parts[i].kind == RowPart::Kind::kColumn) return true;
  return false;
}

void RowGame::ask(std::span<const uint8_t> shown, size_t background, size_t value, double weight) {
  // What the row is made of: its columns' values, and what is shown of words and patches.
  std::string key;
  const auto append = [&](const auto& feature) {
    key.append(reinterpret_cast<const char*>(&feature), sizeof feature);
  };
  const features::EncodedRows& own = row_.inputs.columns;
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    const RowPart& part = row_.parts[i];
    if (part.kind != RowPart::Kind::kColumn) {
      append(shown[i]);
      continue;
    }
    const features::EncodedRows& from = shown[i] != 0 ? own : background_;
    const size_t row = shown[i] != 0 ? 0 : background;
    for (const size_t n : part.numbers)
      append(from.places[row * static_cast<size_t>(from.numbers) + n]);
    for (const size_t c : part.categories)
      append(from.category_ids[row * static_cast<size_t>(from.categories) + c]);
  }
  const auto [found, fresh] =
      places_.emplace(std::move(key), static_cast<size_t>(pending_.columns.rows));
  if (fresh) add_row(shown, background);
  shares_.push_back({found->second, value, weight});
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
  features::EncodedRows& columns = pending_.columns;
  columns.places.insert(columns.places.end(), own.places.begin(), own.places.end());
  columns.category_ids.insert(columns.category_ids.end(), own.category_ids.begin(),
                              own.category_ids.end());
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (shown[i] != 0) continue;
    task::lend_column(row_.parts[i].numbers, row_.parts[i].categories, background_, background,
                      columns, static_cast<size_t>(columns.rows));
  }
}

void RowGame::add_text(std::span<const uint8_t> shown) {
  std::vector<uint8_t> hidden(row_.words.size(), 0);
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (row_.parts[i].kind == RowPart::Kind::kWord && shown[i] == 0) hidden[row_.parts[i].word] = 1;
  }
  task::add_text_without(run_.config, row_, hidden, pending_);
}

void RowGame::add_picture(std::span<const uint8_t> shown) {
  const features::EncodedRows& own = row_.inputs.columns;
  features::Pixels& pixels = pending_.columns.pixels;
  const size_t first = pixels.size();
  pixels.insert(pixels.end(), own.pixels.begin(), own.pixels.end());
  const std::span<uint8_t> picture = std::span(pixels).subspan(first);
  for (size_t i = 0; i < row_.parts.size(); ++i) {
    if (shown[i] != 0) continue;
    for (const uint32_t pixel : row_.parts[i].pixels) task::hide_pixel(own.picture, pixel, picture);
  }
}

void RowGame::flush(std::span<double> values) {
  if (pending_.columns.rows == 0) return;
  pending_.linear = task::linear_scores(pending_.columns, run_);
  const std::vector<float> answers = predictor_.predict_fixed(pending_, run_.pipeline.temperature);
  const auto outputs = static_cast<size_t>(run_.config.outputs);
  for (const Share& share : shares_) {
    const double value =
        target_.of(run_.pipeline, std::span(answers).subspan(share.row * outputs, outputs));
    values[share.value] += share.weight * value;
  }
  answered_ += static_cast<uint64_t>(pending_.columns.rows);
  shares_.clear();
  places_.clear();
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
