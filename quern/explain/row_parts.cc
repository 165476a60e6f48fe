#include "quern/explain/row_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "quern/base/error.h"
#include "quern/explain/superpixels.h"

namespace quern::explain {
namespace {

/// The columns, each with all the features it gives.
void add_columns(const run::RowRun& run, const data::Table& table, size_t row,
                 ExplainedRow& taken) {
  for (task::ColumnFeatures& column : task::features_by_column(run.pipeline.columns)) {
    RowPart& part = taken.parts.emplace_back();
    part.name = column.column;
    part.value = table.cell(row, static_cast<size_t>(table.find(column.column)));
    part.numbers = std::move(column.numbers);
    part.categories = std::move(column.categories);
  }
}

void add_words(const run::RowRun& run, const std::string& text, ExplainedRow& taken) {
  static_cast<task::WordedText&>(taken) = task::read_words(run.config, *run.tokenizer, text);
  for (size_t i = 0; i < taken.words.size(); ++i) {
    const features::Word& word = taken.words[i];
    // The linear model that answers start from reads the whole text.
    const bool seen_as_terms =
        run.config.linear ||
        std::ranges::any_of(taken.ngrams, [&](const features::LocatedNgram& gram) {
          return gram.begin < word.end && word.begin < gram.end;
        });
    if (word.special || (word.token_begin >= taken.tokens.size() && !seen_as_terms)) continue;
    RowPart& part = taken.parts.emplace_back();
    part.kind = RowPart::Kind::kWord;
    part.name = word.text;
    part.word = i;
  }
}

std::vector<uint32_t> segment_labels(const features::EncodedRows& columns, size_t segments) {
  const features::PictureFeature& picture = columns.picture;
  const auto channels = static_cast<size_t>(picture.channels);
  std::vector<uint8_t> colour;
  for (size_t i = 0; i < columns.pixels.size() / channels; ++i)
    for (size_t c = 0; c < 3; ++c)
      colour.push_back(columns.pixels[i * channels + std::min(c, channels - 1)]);
  return slic({static_cast<size_t>(picture.height), static_cast<size_t>(picture.width), colour},
              segments)
      .labels;
}

void add_patches(const PartOptions& options, ExplainedRow& taken) {
  const features::PictureFeature& picture = taken.inputs.columns.picture;
  const bool segmented = options.segments > 0;
  const std::vector<uint32_t> labels = segmented
                                           ? segment_labels(taken.inputs.columns, options.segments)
                                           : task::patch_labels(picture, options.patches);
  const int64_t side = task::patch_side(picture, options.patches);
  std::map<uint32_t, size_t> places;
  for (uint32_t pixel = 0; pixel < labels.size(); ++pixel) {
    const auto [found, fresh] = places.emplace(labels[pixel], taken.parts.size());
    if (fresh) {
      RowPart& part = taken.parts.emplace_back();
      part.kind = RowPart::Kind::kPatch;
      part.name = segmented ? fmt::format("segment {}", places.size())
                            : fmt::format("row {}, column {}", pixel / picture.width / side + 1,
                                          pixel % picture.width / side + 1);
    }
    taken.parts[found->second].pixels.push_back(pixel);
  }
}

}  // namespace

std::optional<PartitionTree> tree_of(const ExplainedRow& row, const PartOptions& options) {
  std::vector<std::vector<size_t>> groups;  // by kind: parts of one kind stand together
  for (size_t i = 0; i < row.parts.size(); ++i) {
    if (i == 0 || row.parts[i].kind != row.parts[i - 1].kind) groups.emplace_back();
    groups.back().push_back(i);
  }
  const RowPart::Kind kind = row.parts.front().kind;
  if (groups.size() > 1) return group_tree(groups, row.parts.size());
  if (kind == RowPart::Kind::kColumn) return std::nullopt;
  if (kind == RowPart::Kind::kWord || options.segments > 0) return sequence_tree(row.parts.size());
  const features::PictureFeature& picture = row.inputs.columns.picture;
  const int64_t side = task::patch_side(picture, options.patches);
  return grid_tree(static_cast<size_t>((picture.height + side - 1) / side),
                   static_cast<size_t>((picture.width + side - 1) / side));
}

ExplainedRow take_row(const run::RowRun& run, const data::Table& table, size_t row,
                      const PartOptions& options) {
  ExplainedRow taken;
  features::EncodedRows encoded = run.pipeline.columns.encode(table, std::array{row});
  const std::string text = encoded.texts.empty() ? "" : encoded.texts.front();
  taken.inputs = task::make_row_inputs(std::move(encoded), run);
  add_columns(run, table, row, taken);
  if (run.config.has_text()) add_words(run, text, taken);
  if (run.config.has_image()) add_patches(options, taken);
  if (taken.parts.empty()) {
    throw Error("empty_text", fmt::format("{}: the text is empty", table.where(row)),
                "there is nothing in it to explain; name another row with --row");
  }
  return taken;
}

}  // namespace quern::explain
