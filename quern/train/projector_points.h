#pragma once

#include <span>
#include <vector>

#include "quern/base/file.h"
#include "quern/features/item_sequences.h"
#include "quern/features/tokenizer.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"
#include "quern/task/rows.h"
#include "quern/train/row_report.h"

// What a finished run shows in TensorBoard's embedding projector.
namespace quern::train {

/// More would make the files large and the projector slow.
inline constexpr size_t kProjectorPoints = 2000;

/// What a model makes of rows that it did not learn from.
struct RowEmbeddings {
  std::vector<size_t> rows;  // among the known ones
  size_t width = 0;
  std::vector<float> values;  // (rows, width)
};
/// Of at most kProjectorPoints of `rows` of all `inputs`, evenly spread: what the head reads, the
/// columns averaged; at most one vector each of columns, picture, text and n-grams, side by side.
/// Of a model of one copy.
RowEmbeddings embed_rows(const model::EncoderConfig& config, graph::ParameterStore& parameters,
                         const task::RowInputs& inputs, std::span<const size_t> rows,
                         ThreadPool& pool);
/// Each row with its label and the prediction. The rows are among those that the report judges.
void write_row_projector(const fs::path& folder, const RowReport& report,
                         const RowEmbeddings& embeddings);
/// The embeddings of the first tokens of the vocabulary, each with its text.
void write_token_projector(const fs::path& folder, graph::ParameterStore& parameters,
                           const features::Tokenizer& tokenizer);

/// The embeddings of the items that training saw most often, each with its name and how often.
/// `side`: as TraceOptions::side.
void write_item_projector(const fs::path& folder, const model::ModelConfig& config,
                          const graph::ParameterStore& parameters, std::span<const int32_t> side,
                          const features::ItemVocabulary& items);

}  // namespace quern::train
