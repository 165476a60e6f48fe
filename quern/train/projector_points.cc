#include "quern/train/projector_points.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "quern/base/evenly_spread.h"
#include "quern/base/readable_text.h"
#include "quern/formats/projector.h"
#include "quern/infer/item_ranker.h"
#include "quern/infer/representation.h"
#include "quern/train/row_errors.h"

namespace quern::train {

RowEmbeddings embed_rows(const model::EncoderConfig& config, graph::ParameterStore& parameters,
                         const task::RowInputs& inputs, std::span<const size_t> rows,
                         ThreadPool& pool) {
  RowEmbeddings out;
  const size_t count = std::min(rows.size(), kProjectorPoints);
  out.rows.reserve(count);
  for (const size_t place : evenly_spread(rows.size(), count)) out.rows.push_back(rows[place]);
  const std::vector<float> all =
      infer::represent(config, parameters, inputs.select(out.rows), pool);
  const auto width = static_cast<size_t>(config.trunk.width);
  const auto columns = static_cast<size_t>(config.columns());
  const size_t read = infer::representation_width(config);
  out.width = read - (columns > 1 ? (columns - 1) * width : 0);
  out.values.reserve(count * out.width);
  for (size_t row = 0; row < count; ++row) {
    const std::span<const float> vector = std::span(all).subspan(row * read, read);
    for (size_t i = 0; columns > 0 && i < width; ++i) {
      float sum = 0;
      for (size_t column = 0; column < columns; ++column) sum += vector[column * width + i];
      out.values.push_back(sum / static_cast<float>(columns));
    }
    const std::span<const float> pooled = vector.subspan(columns * width);
    out.values.insert(out.values.end(), pooled.begin(), pooled.end());
  }
  return out;
}

void write_row_projector(const fs::path& folder, const RowReport& r, const RowEmbeddings& e) {
  const std::vector<JudgedRow> judged = judge_rows(r);
  formats::ProjectorPoints points{"validation", e.width, e.values, {"label", "prediction"}, {}};
  points.cells.reserve(e.rows.size());
  for (const size_t row : e.rows) {
    const auto place = std::ranges::lower_bound(r.input_rows, row) - r.input_rows.begin();
    const JudgedRow& one = judged[static_cast<size_t>(place)];
    points.cells.push_back({one.stands, one.answer});
  }
  formats::write_projector(folder, points);
}

void write_token_projector(const fs::path& folder, graph::ParameterStore& parameters,
                           const features::Tokenizer& tokenizer) {
  const TensorView table = parameters.value(parameters.find("embed.weight"));
  const size_t tokens = std::min(tokenizer.vocabulary(), kProjectorPoints);
  const auto width = static_cast<size_t>(table.shape()[1]);
  formats::ProjectorPoints points{
      "tokens", width, table.f32_span().first(tokens * width), {"token", "id"}, {}};
  points.cells.reserve(tokens);
  for (size_t id = 0; id < tokens; ++id) {
    points.cells.push_back(
        {readable(tokenizer.token_bytes(static_cast<uint32_t>(id))), std::to_string(id)});
  }
  formats::write_projector(folder, points);
}

void write_item_projector(const fs::path& folder, const model::ModelConfig& config,
                          const graph::ParameterStore& parameters, std::span<const int32_t> side,
                          const features::ItemVocabulary& items) {
  std::vector<uint32_t> ids(items.size());
  std::iota(ids.begin(), ids.end(), uint32_t{1});
  const size_t shown = std::min(ids.size(), kProjectorPoints);
  std::ranges::stable_sort(ids, std::greater<>(), [&](uint32_t id) { return items.count(id); });
  const std::vector<float> rows = infer::item_rows(config, parameters, side);
  const auto width = static_cast<size_t>(config.width);
  std::vector<float> values;
  values.reserve(shown * width);
  formats::ProjectorPoints points{"items", width, {}, {"item", "taken"}, {}};
  points.cells.reserve(shown);
  for (const uint32_t id : std::span(ids).first(shown)) {
    const std::span<const float> row = std::span(rows).subspan(id * width, width);
    values.insert(values.end(), row.begin(), row.end());
    points.cells.push_back({items.name(id), std::to_string(items.count(id))});
  }
  points.values = values;
  formats::write_projector(folder, points);
}

}  // namespace quern::train
