#include "quern/run/quantize.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/graph/quantized.h"
#include "quern/model/decoder.h"
#include "quern/run/item_run.h"
#include "quern/run/row_run.h"
#include "quern/run/run_folder.h"

namespace quern::run {
namespace {

/// Of the weights and what became of them.
double relative_error(std::span<const float> weights, const kernels::QuantizedMatrix& matrix) {
  double lost = 0;
  double all = 0;
  for (int64_t row = 0; row < matrix.rows; ++row) {
    for (int64_t column = 0; column < matrix.columns; ++column) {
      const auto weight =
          static_cast<double>(weights[static_cast<size_t>(row * matrix.columns + column)]);
      const double difference = weight - static_cast<double>(matrix.weight(row, column));
      lost += difference * difference;
      all += weight * weight;
    }
  }
  return all > 0 ? std::sqrt(lost / all) : 0;
}

[[noreturn]] void not_finite(const std::string& name) {
  throw Error("not_finite",
              fmt::format("tensor {} holds weights that are not numbers, or too large", name),
              "train the run again with a lower train.learning_rate");
}

/// One tensor in fewer bits.
struct Rounded {
  int32_t index = 0;
  std::vector<std::byte> bytes;
  double error = 0;
};

Rounded round(const graph::ParameterStore& parameters, int32_t index, DType kind) {
  const std::string& name = parameters.parameters()[static_cast<size_t>(index)].name;
  const TensorView value = parameters.value(index);
  const std::span<const float> from = value.f32_span();
  if (!std::ranges::all_of(from, [](float weight) { return std::isfinite(weight); }))
    not_finite(name);
  const TensorType type{kind, value.shape()};
  Rounded rounded{index, std::vector<std::byte>(type.bytes())};
  const kernels::QuantizedMatrix matrix = graph::quantized_matrix({rounded.bytes.data(), type});
  kernels::quantize(from.data(), matrix, rounded.bytes.data());
  rounded.error = relative_error(from, matrix);
  if (!std::isfinite(rounded.error)) not_finite(name);
  return rounded;
}

/// Four times what the bits lose of normal weights: more are lost where the weights are too small
/// for a scale of half precision, or a few in a block are far from the rest.
double largest_error(DType kind) { return kind == DType::kQ8_0 ? 0.02 : 0.35; }

/// A model's weights, and which of them can be quantised.
struct Model {
  graph::ParameterStore parameters;
  std::vector<int32_t> quantizable;
};

Model decoder(graph::ParameterStore parameters, const model::ModelConfig& config,
              std::span<const int32_t> side) {
  model::TraceOptions options;
  options.use = model::TraceOptions::Use::kDecode;
  options.side = side;
  std::vector<int32_t> found =
      graph::quantizable_parameters(model::trace(config, parameters, options));
  return {std::move(parameters), std::move(found)};
}

Model load(const fs::path& folder) {
  const std::string task = task_of(folder);
  if (task == "generate") {
    Run run = load_run(folder);
    return decoder(std::move(run.parameters), run.config, {});
  }
  if (task == "recommend") {
    ItemRun run = load_item_run(folder);
    return decoder(std::move(run.parameters), run.config, run.pipeline.sides.codes);
  }
  RowRun run = load_row_run(folder);
  std::vector<int32_t> found =
      graph::quantizable_parameters(model::trace_encoder(run.config, run.parameters, {}));
  return {std::move(run.parameters), std::move(found)};
}

/// Every file of a run but its weights and what only training and the clock need, by its path in
/// the folder.
std::vector<fs::path> files_beside_weights(const fs::path& folder) {
  std::vector<fs::path> files;
  for (auto at = fs::recursive_directory_iterator(folder); at != fs::end(at); ++at) {
    const fs::path name = at->path().filename();
    if (at->is_directory()) {
      if (name == kCheckpointFolder || name == kCacheFolder || name == kInferenceFolder)
        at.disable_recursion_pending();
    } else if (at->is_regular_file() && at->path() != folder / kWeightsFile) {
      files.push_back(at->path().lexically_relative(folder));
    }
  }
  return files;
}

/// A folder that is made beside its place, and gone unless it is moved there.
class FolderInMaking {
 public:
  explicit FolderInMaking(const fs::path& target)
      : target_(target), path_(fmt::format("{}.part{}", target.string(), getpid())) {
    fs::create_directories(path_);
  }
  ~FolderInMaking() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  FolderInMaking(const FolderInMaking&) = delete;
  FolderInMaking& operator=(const FolderInMaking&) = delete;

  const fs::path& path() const { return path_; }
  void move_to_target() const { fs::rename(path_, target_); }

 private:
  fs::path target_, path_;
};

/// What the card of the run says besides.
std::string card_note(DType kind) {
  return fmt::format(
      "\n## Rounded weights\n\nThe weights of this copy are of {} bits ({}, by `quern quantize`); "
      "the figures above are those of the run in float32.\n",
      kind == DType::kQ8_0 ? 8 : 4, name(kind));
}

void write_run(const fs::path& run, const fs::path& out, const graph::ParameterStore& parameters) {
  const FolderInMaking folder(out);
  for (const fs::path& file : files_beside_weights(run)) {
    fs::create_directories((folder.path() / file).parent_path());
    std::string content = read_file(run / file);
    if (file == kCardFile) content += card_note(parameters.quantized());
    write_file(folder.path() / file, content);
  }
  save_weights(folder.path(), parameters);
  folder.move_to_target();
}

}  // namespace

std::string quantization_word(DType kind) { return kind == DType::kQ8_0 ? "q8_0" : "q4_0"; }
DType quantization_of_word(std::string_view word) {
  return word == quantization_word(DType::kQ8_0) ? DType::kQ8_0 : DType::kQ4_0;
}

Quantized quantize(const graph::ParameterStore& parameters, std::span<const int32_t> indices,
                   DType kind) {
  if (is_quantized(parameters.quantized())) {
    throw Error("quantized", "the weights are quantised already",
                "give the run that they were made from");
  }
  Quantized result;
  graph::ParameterStore& made = result.parameters;
  for (const graph::ParameterInfo& info : parameters.parameters())
    made.declare(info.name, info.shape, info.group);
  std::vector<Rounded> rounded;
  for (const int32_t index : indices) {
    Rounded one = round(parameters, index, kind);
    if (one.error > largest_error(kind)) continue;
    made.quantize(index, kind);
    rounded.push_back(std::move(one));
  }
  made.allocate();
  const auto infos = made.parameters();
  for (size_t i = 0; i < infos.size(); ++i) {
    if (is_quantized(infos[i].dtype)) continue;
    const auto index = static_cast<int32_t>(i);
    std::ranges::copy(parameters.value(index).f32_span(), made.value(index).f32());
    result.kept.push_back(infos[i].name);
  }
  for (const Rounded& one : rounded) {
    std::ranges::copy(one.bytes, made.value(one.index).data);
    result.tensors.push_back({infos[static_cast<size_t>(one.index)].name, one.error});
    result.quantized_parameters += made.value(one.index).elements();
  }
  return result;
}

QuantizedRun quantize_run(const fs::path& run, const fs::path& asked, DType kind) {
  const fs::path out = asked.has_filename() ? asked : asked.parent_path();
  if (fs::exists(out)) {
    throw UsageError("run_exists", fmt::format("{}: something is there already", out.string()),
                     "choose another --out");
  }
  const Model model = load(run);
  QuantizedRun result;
  result.weights = quantize(model.parameters, model.quantizable, kind);
  if (result.weights.tensors.empty()) {
    throw Error("nothing_to_quantize", fmt::format("{}: no weight can be quantised", run.string()),
                "linear layers and embeddings can, where a row is a multiple of 32 wide "
                "(model.width)");
  }
  try {
    write_run(run, out, result.weights.parameters);
    result.bytes_before = fs::file_size(run / kWeightsFile);
    result.bytes = fs::file_size(out / kWeightsFile);
  } catch (const fs::filesystem_error& error) {
    throw IoError(fmt::format("{}: cannot write the run: {}", out.string(), error.code().message()),
                  "choose another --out");
  }
  return result;
}

}  // namespace quern::run
