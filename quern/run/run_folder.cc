#include "quern/run/run_folder.h"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "quern/base/error.h"
#include "quern/formats/json.h"
#include "quern/formats/safetensors.h"
#include "quern/model/decoder.h"

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
    tensors.push_back({infos[i].name, DType::kF32, infos[i].shape, {view.data, view.type.bytes()}});
  }
  formats::write_safetensors(folder / kWeightsFile, tensors, {{"format", "pt"}});
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
  for (const auto& info : store.parameters()) {
    const formats::TensorEntry* entry = file.find(info.name);
    if (entry == nullptr) {
      does_not_fit(path, fmt::format("no tensor {} {}", info.name, info.shape.to_string()));
    }
    if (entry->shape != info.shape || entry->dtype != DType::kF32) {
      does_not_fit(path, fmt::format("tensor {} is {} {}, config.json asks for F32 {}", info.name,
                                     quern::name(entry->dtype), entry->shape.to_string(),
                                     info.shape.to_string()));
    }
  }
  for (const auto& entry : file.tensors()) {
    if (store.find(entry.name) < 0) {
      does_not_fit(path, fmt::format("tensor {} {} has no place in config.json's model", entry.name,
                                     entry.shape.to_string()));
    }
  }
  store.allocate();
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const auto bytes = file.data(file.at(store.parameters()[i].name));
    std::memcpy(store.value(static_cast<int32_t>(i)).data, bytes.data(), bytes.size());
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
