#include "quern/features/linear_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quern/base/error.h"
#include "quern/formats/safetensors.h"

namespace quern::features {
namespace {

constexpr const char* kHint = "restore it from a copy of the run folder";

template <typename T>
formats::TensorData tensor(const char* name, DType dtype, Shape shape, const std::vector<T>& data) {
  return {name, dtype, shape, std::as_bytes(std::span(data))};
}

/// A tensor of one dimension.
template <typename T>
std::vector<T> read(const formats::SafetensorsFile& file, const char* name, DType dtype) {
  const formats::TensorEntry* entry = file.find(name);
  if (entry == nullptr) return {};
  if (entry->dtype != dtype || entry->shape.rank() != 1) {
    throw FormatError(fmt::format("{}: tensor {} is {} {}", file.path().string(), name,
                                  quern::name(entry->dtype), entry->shape.to_string()),
                      kHint);
  }
  std::vector<T> out(static_cast<size_t>(entry->shape[0]));
  std::memcpy(out.data(), file.data(*entry).data(), out.size() * sizeof(T));
  return out;
}

TermBlock read_block(const formats::SafetensorsFile& file, const char* terms, const char* idf) {
  TermBlock block{read<int32_t>(file, terms, DType::kI32), read<float>(file, idf, DType::kF32)};
  if (block.terms.size() != block.idf.size() ||
      !std::is_sorted(block.terms.begin(), block.terms.end())) {
    throw FormatError(
        fmt::format("{}: {} and {} do not hold together", file.path().string(), terms, idf), kHint);
  }
  return block;
}

}  // namespace

std::vector<float> linear_scores(const SparseRows& rows, std::span<const float> weights,
                                 int64_t outputs) {
  const auto width = static_cast<size_t>(outputs);
  std::vector<float> out(rows.rows() * width);
  for (size_t row = 0; row < rows.rows(); ++row) {
    float* scores = out.data() + row * width;
    std::copy_n(weights.end() - outputs, width, scores);
    for (uint64_t i = rows.begins[row]; i < rows.begins[row + 1]; ++i) {
      const float* of = weights.data() + rows.columns[i] * width;
      for (size_t k = 0; k < width; ++k) scores[k] += rows.values[i] * of[k];
    }
  }
  return out;
}

std::vector<float> LinearScore::scores(const SparseRows& rows) const {
  return linear_scores(rows, weights, outputs);
}

std::vector<float> LinearScore::scores(const ColumnEncoder& columns,
                                       const EncodedRows& rows) const {
  return scores(features.rows(columns, rows));
}

void LinearScore::save(const fs::path& file) const {
  const auto terms = [](const TermBlock& block) {
    return Shape{static_cast<int64_t>(block.terms.size())};
  };
  std::vector<formats::TensorData> tensors = {
      tensor("weights", DType::kF32, {static_cast<int64_t>(weights.size())}, weights)};
  for (const auto& [block, names] :
       {std::pair{&features.words(), std::pair{"words.terms", "words.idf"}},
        std::pair{&features.letters(), std::pair{"letters.terms", "letters.idf"}}}) {
    if (block->terms.empty()) continue;
    tensors.push_back(tensor(names.first, DType::kI32, terms(*block), block->terms));
    tensors.push_back(tensor(names.second, DType::kF32, terms(*block), block->idf));
  }
  formats::write_safetensors(file, tensors, {{"kind", std::string(name(features.kind()))}});
}

LinearScore LinearScore::load(const fs::path& path, const ColumnEncoder& columns, int64_t outputs) {
  const formats::SafetensorsFile file(path);
  const auto kind = file.metadata().find("kind");
  if (kind == file.metadata().end() || (kind->second != "plain" && kind->second != "rich"))
    throw FormatError(fmt::format("{}: of no known kind", path.string()), kHint);
  LinearScore score;
  score.outputs = outputs;
  score.features =
      LinearFeatures(columns, kind->second == "rich" ? LinearKind::kRich : LinearKind::kPlain,
                     read_block(file, "words.terms", "words.idf"),
                     read_block(file, "letters.terms", "letters.idf"));
  score.weights = read<float>(file, "weights", DType::kF32);
  const size_t expected = (score.features.width() + 1) * static_cast<size_t>(outputs);
  if (score.weights.size() != expected) {
    throw FormatError(fmt::format("{}: {} weights, where columns and classes ask for {}",
                                  path.string(), score.weights.size(), expected),
                      kHint);
  }
  return score;
}

}  // namespace quern::features
