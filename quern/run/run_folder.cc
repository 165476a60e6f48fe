#include "quern/run/run_folder.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "quern/base/error.h"
#include "quern/formats/json.h"
#include "quern/formats/safetensors.h"
#include "quern/graph/quantized.h"
#include "quern/model/decoder.h"
#include "quern/run/options.h"

namespace quern::run {
namespace {

constexpr const char* kIncompleteHint =
    "the run is incomplete: finish it with quern train --resume, or restore it from a copy";

void require_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) {
    throw IoError(fmt::format("{}: no such run folder", folder.string()),
                  "give the folder that quern train wrote", "file_missing");
  }
  if (!fs::is_directory(folder, error)) {
    throw IoError(fmt::format("{}: not a folder", folder.string()),
                  "give the folder that quern train wrote");
  }
}

[[noreturn]] void does_not_fit(const fs::path& path, const std::string& what) {
  throw Error("weights_do_not_fit", fmt::format("{}: {}", path.string(), what),
              "config.json and model.safetensors belong to different models; restore both from one "
              "run");
}

constexpr const char* kQuantization = "quantization";
constexpr std::string_view kScales = ".scales";

DType quantization_of(const formats::SafetensorsFile& file) {
  const auto found = file.metadata().find(kQuantization);
  if (found == file.metadata().end()) return DType::kF32;
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0}) {
    if (found->second == name(dtype)) return dtype;
  }
  throw FormatError(
      fmt::format("{}: the weights are quantised in an unknown way", file.path().string()),
      "Q8_0 and Q4_0 are known; use the version of Quern that wrote the file");
}

/// Of a file's matrix with scales: the same matrix in the store, still without data.
kernels::QuantizedMatrix matrix_of(const Shape& shape, DType dtype) {
  return graph::quantized_matrix({nullptr, {dtype, shape}});
}

/// Whether the file holds a parameter as `kind`; throws where it holds it neither so nor in F32.
bool is_quantized_in(const formats::SafetensorsFile& file, const graph::ParameterInfo& info,
                     DType kind) {
  const auto misfit = [&](const formats::TensorEntry& entry, const std::string& asked) {
    does_not_fit(file.path(),
                 fmt::format("tensor {} is {} {}, config.json asks for {}", entry.name,
                             quern::name(entry.dtype), entry.shape.to_string(), asked));
  };
  const formats::TensorEntry* entry = file.find(info.name);
  if (entry == nullptr) {
    does_not_fit(file.path(), fmt::format("no tensor {} {}", info.name, info.shape.to_string()));
  }
  if (entry->dtype == DType::kF32 && entry->shape == info.shape) return false;
  if (entry->dtype != DType::kU8 || !is_quantized(kind) || !graph::can_be_quantized(info.shape))
    misfit(*entry, "F32 " + info.shape.to_string());
  const kernels::QuantizedMatrix matrix = matrix_of(info.shape, kind);
  const Shape quants{matrix.rows, matrix.row_bytes()};
  const Shape scales{matrix.rows, matrix.row_scales()};
  if (entry->shape != quants)
    misfit(*entry, fmt::format("U8 {} of {}", quants.to_string(), quern::name(kind)));
  const formats::TensorEntry& found = file.at(info.name + std::string(kScales));
  if (found.dtype != DType::kF16 || found.shape != scales)
    misfit(found, "F16 " + scales.to_string());
  const std::span<const std::byte> bytes = file.data(found);
  for (size_t i = 0; i < bytes.size(); i += sizeof(kernels::Float16)) {
    kernels::Float16 scale;
    std::memcpy(&scale, bytes.data() + i, sizeof(scale));
    if (!std::isfinite(static_cast<float>(scale))) {
      throw FormatError(fmt::format("{}: tensor {} holds a scale that is not a number",
                                    file.path().string(), found.name),
                        "the file is damaged; quantise the run again");
    }
  }
  return true;
}

/// The parameter that a file's tensor is, or is the scales of; -1: none.
int32_t parameter_of(const formats::TensorEntry& entry, const graph::ParameterStore& store) {
  const int32_t own = store.find(entry.name);
  if (own >= 0 || !entry.name.ends_with(kScales)) return own;
  const std::string_view name(entry.name.data(), entry.name.size() - kScales.size());
  const int32_t of = store.find(name);
  const bool quantized = of >= 0 && is_quantized(store.value(of).type.dtype);
  return quantized ? of : -1;
}

}  // namespace

std::string read_part(const fs::path& folder, std::string_view name, std::string_view purpose) {
  require_folder(folder);
  const fs::path path = folder / name;
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw IoError(fmt::format("{}: the run folder lacks {}, {}", folder.string(), name, purpose),
                  kIncompleteHint, "file_missing");
  }
  return read_file(path);
}

Options options_of(const fs::path& folder) {
  return Options::from_resolved(read_part(folder, kOptionsFile, "which holds the options in force"),
                                (folder / kOptionsFile).string());
}

std::string to_json(const Pipeline& pipeline) {
  return nlohmann::ordered_json{{"format", kFolderFormat},
                                {"task", pipeline.task},
                                {"data_fingerprint", pipeline.data_fingerprint},
                                {"tokenizer_fingerprint", pipeline.tokenizer_fingerprint},
                                {"split", pipeline.split},
                                {"counts", pipeline.counts}}
             .dump(2) +
         "\n";
}

Pipeline pipeline_from_json(std::string_view text, std::string_view where) {
  const nlohmann::json json = formats::parse_json(text, where);
  try {
    const auto format = json.at("format").get<int64_t>();
    if (format > kFolderFormat) {
      throw Error("newer_version",
                  fmt::format("{}: written by a newer Quern (run folder format {}, this reads {})",
                              where, format, kFolderFormat),
                  "use that version of Quern");
    }
    Pipeline pipeline;
    pipeline.task = json.at("task").get<std::string>();
    pipeline.data_fingerprint = json.at("data_fingerprint").get<std::string>();
    pipeline.tokenizer_fingerprint = json.at("tokenizer_fingerprint").get<std::string>();
    pipeline.split = json.at("split").get<std::map<std::string, std::string>>();
    pipeline.counts = json.at("counts").get<std::map<std::string, uint64_t>>();
    return pipeline;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(fmt::format("{}: not a pipeline of Quern's: {}", where, error.what()),
                      "restore it from a copy of the run folder");
  }
}

void create_run_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder / kCheckpointFolder, error);
  if (error) {
    throw IoError(
        fmt::format("{}: cannot make the run folder: {}", folder.string(), error.message()),
        "choose another with --out",
        error == std::errc::permission_denied ? "no_permission" : "io");
  }
}

bool is_run_folder(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kOptionsFile, error);
}

bool is_finished(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kMetricsFile, error);
}

void save_weights(const fs::path& folder, const graph::ParameterStore& parameters) {
  std::vector<formats::TensorData> tensors;
  const auto infos = parameters.parameters();
  for (size_t i = 0; i < infos.size(); ++i) {
    const TensorView view = parameters.value(static_cast<int32_t>(i));
    const std::span<const std::byte> bytes(view.data, view.type.bytes());
    if (!is_quantized(view.type.dtype)) {
      tensors.push_back({infos[i].name, DType::kF32, infos[i].shape, bytes});
      continue;
    }
    const kernels::QuantizedMatrix matrix = graph::quantized_matrix(view);
    const auto quants = static_cast<size_t>(matrix.rows * matrix.row_bytes());
    tensors.push_back(
        {infos[i].name, DType::kU8, {matrix.rows, matrix.row_bytes()}, bytes.first(quants)});
    tensors.push_back({infos[i].name + std::string(kScales),
                       DType::kF16,
                       {matrix.rows, matrix.row_scales()},
                       bytes.subspan(quants)});
  }
  std::map<std::string, std::string> metadata{{"format", "pt"}};
  const DType kind = parameters.quantized();
  if (is_quantized(kind)) metadata[kQuantization] = name(kind);
  formats::write_safetensors(folder / kWeightsFile, tensors, metadata);
}

DType quantization_of(const fs::path& folder) {
  const fs::path path = folder / kWeightsFile;
  std::error_code error;
  return fs::exists(path, error) ? quantization_of(formats::SafetensorsFile(path)) : DType::kF32;
}

void load_weights(const fs::path& folder, graph::ParameterStore& store) {
  const fs::path path = folder / kWeightsFile;
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw IoError(
        fmt::format("{}: the run folder lacks {}, the weights", folder.string(), kWeightsFile),
        kIncompleteHint, "file_missing");
  }
  const formats::SafetensorsFile file(path);
  const DType kind = quantization_of(file);
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    if (is_quantized_in(file, store.parameters()[i], kind))
      store.quantize(static_cast<int32_t>(i), kind);
  }
  for (const auto& entry : file.tensors()) {
    if (parameter_of(entry, store) < 0) {
      does_not_fit(path, fmt::format("tensor {} {} has no place in config.json's model", entry.name,
                                     entry.shape.to_string()));
    }
  }
  store.allocate();
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const std::string& name = store.parameters()[i].name;
    const TensorView value = store.value(static_cast<int32_t>(i));
    const auto bytes = file.data(file.at(name));
    std::memcpy(value.data, bytes.data(), bytes.size());
    if (!is_quantized(value.type.dtype)) continue;
    const auto scales = file.data(file.at(name + std::string(kScales)));
    std::memcpy(value.data + bytes.size(), scales.data(), scales.size());
  }
}

void save_model(const fs::path& folder, const model::ModelConfig& config,
                const graph::ParameterStore& parameters) {
  save_weights(folder, parameters);
  write_file(folder / kConfigFile, model::to_json(config));
}

void load_model(const fs::path& folder, model::ModelConfig& config,
                graph::ParameterStore& parameters) {
  const std::string text = read_part(folder, kConfigFile, "which describes the model");
  config = model::config_from_json(text, (folder / kConfigFile).string());
  graph::ParameterStore store;
  model::declare_parameters(config, store);
  load_weights(folder, store);
  parameters = std::move(store);
}

std::string task_of(const fs::path& folder) {
  const std::string text = read_part(folder, kPipelineFile, "which says how the data was prepared");
  return pipeline_from_json(text, (folder / kPipelineFile).string()).task;
}

Run load_run(const fs::path& folder) {
  Run run;
  run.folder = folder;
  run.pipeline =
      pipeline_from_json(read_part(folder, kPipelineFile, "which says how the data was prepared"),
                         (folder / kPipelineFile).string());
  if (run.pipeline.task != "generate") {
    throw Error("other_task",
                fmt::format("{}: this run learnt to {}, not to continue text", folder.string(),
                            run.pipeline.task),
                run.pipeline.task == "recommend" ? "use quern recommend"
                                                 : "use quern predict or quern evaluate");
  }
  load_model(folder, run.config, run.parameters);
  const std::string tokenizer = read_part(folder, kTokenizerFile, "which turns text into tokens");
  run.tokenizer = features::Tokenizer::from_json(tokenizer, (folder / kTokenizerFile).string());
  if (static_cast<int64_t>(run.tokenizer->vocabulary()) > run.config.vocabulary) {
    throw Error("tokenizer_does_not_fit",
                fmt::format("{}: tokenizer.json has {} tokens, the model {}", folder.string(),
                            run.tokenizer->vocabulary(), run.config.vocabulary),
                "restore both from one run");
  }
  return run;
}

}  // namespace quern::run
