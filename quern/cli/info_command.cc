#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/formats/json.h"
#include "quern/formats/safetensors.h"
#include "quern/run/quantize.h"
#include "quern/run/run_folder.h"
#include "quern/train/checkpoint.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

struct Info {
  ordered_json json;
  std::string text;
};

std::string line(std::string_view name, const std::string& value) {
  return fmt::format("{:<14}{}\n", name, value);
}

int64_t quantized_count(const graph::ParameterStore& parameters) {
  int64_t count = 0;
  for (const auto& parameter : parameters.parameters())
    count += is_quantized(parameter.dtype) ? parameter.shape.elements() : 0;
  return count;
}

Info describe_run(const fs::path& folder) {
  const run::Run run = run::load_run(folder);
  const model::ModelConfig& c = run.config;
  const auto bytes = static_cast<uint64_t>(fs::file_size(folder / run::kWeightsFile));
  const DType quantized = run.parameters.quantized();
  Info info;
  info.json = {{"run", folder.string()},
               {"task", run.pipeline.task},
               {"preset", c.preset},
               {"parameters", run.parameters.count()},
               {"layers", c.layers},
               {"heads", c.heads},
               {"width", c.width},
               {"context", c.context},
               {"vocabulary", c.vocabulary},
               {"tokenizer", run.tokenizer->kind()},
               {"bytes", bytes},
               {"finished", run::is_finished(folder)},
               {"counts", run.pipeline.counts},
               {"data_fingerprint", run.pipeline.data_fingerprint}};
  if (is_quantized(quantized)) {
    info.json["quantized"] = run::quantization_word(quantized);
    info.json["quantized_parameters"] = quantized_count(run.parameters);
  }
  info.text = line("run", folder.string() + (run::is_finished(folder) ? "" : " (unfinished)"));
  info.text += line("task", run.pipeline.task);
  info.text += line("model", fmt::format("{}: {} layers, {} heads, width {}, context {}", c.preset,
                                         c.layers, c.heads, c.width, c.context));
  info.text += line("parameters", format_count(static_cast<double>(run.parameters.count())));
  info.text += line("weights", format_bytes(static_cast<double>(bytes)));
  if (is_quantized(quantized)) {
    const int64_t rest = run.parameters.count() - quantized_count(run.parameters);
    info.text += line("quantized", fmt::format("{}, but {} parameters in float32",
                                               run::quantization_word(quantized),
                                               format_count(static_cast<double>(rest))));
  }
  info.text += line("tokenizer", fmt::format("{}, {} tokens", run.tokenizer->kind(),
                                             run.tokenizer->vocabulary()));
  if (run::is_finished(folder)) {
    const fs::path path = folder / run::kMetricsFile;
    const nlohmann::json metrics = formats::parse_json(read_file(path), path.string());
    info.json["metrics"] = metrics;
    const auto figure = [&](const char* part, const char* name) {
      const nlohmann::json& scores = metrics.contains(part) ? metrics[part] : metrics;
      return scores.is_object() && scores.contains(name) && scores[name].is_number()
                 ? scores[name].get<double>()
                 : std::nan("");
    };
    if (metrics.contains("validation")) {
      info.text += line("validation", fmt::format("{:.4f} nats a token, {:.3f} bits per byte; a "
                                                  "5-gram on the same split has {:.3f}",
                                                  figure("validation", "loss"),
                                                  figure("validation", "bits_per_byte"),
                                                  figure("baseline", "bits_per_byte")));
    }
  }
  info.text += "\nparameters by tensor:\n";
  ordered_json tensors = ordered_json::array();
  for (const auto& parameter : run.parameters.parameters()) {
    tensors.push_back({{"name", parameter.name},
                       {"dtype", name(parameter.dtype)},
                       {"shape", std::vector<int64_t>(parameter.shape.extents().begin(),
                                                      parameter.shape.extents().end())}});
    info.text += fmt::format("  {:<36}{} {}\n", parameter.name, name(parameter.dtype),
                             parameter.shape.to_string());
  }
  info.json["tensors"] = std::move(tensors);
  return info;
}

Info describe_safetensors(const fs::path& path) {
  const formats::SafetensorsFile file(path);
  Info info;
  int64_t elements = 0;
  ordered_json tensors = ordered_json::array();
  std::string list;
  for (const auto& entry : file.tensors()) {
    elements += entry.shape.elements();
    tensors.push_back({{"name", entry.name},
                       {"dtype", name(entry.dtype)},
                       {"shape", std::vector<int64_t>(entry.shape.extents().begin(),
                                                      entry.shape.extents().end())}});
    list += fmt::format("  {:<36}{} {}\n", entry.name, name(entry.dtype), entry.shape.to_string());
  }
  info.json = {{"file", path.string()},
               {"format", "safetensors"},
               {"parameters", elements},
               {"bytes", fs::file_size(path)},
               {"metadata", file.metadata()}};
  info.text = line("file", path.string()) + line("format", "safetensors") +
              line("elements", format_count(static_cast<double>(elements)));
  if (file.metadata().contains("quern_checkpoint")) {
    const train::Progress progress = train::verify_checkpoint(path);
    info.json["checkpoint"] = {{"step", progress.step},
                               {"best_step", progress.best_step},
                               {"best_loss", progress.best_loss},
                               {"seconds", progress.seconds}};
    info.text += line("checkpoint", fmt::format("step {}, checksum good", progress.step));
  }
  info.json["tensors"] = std::move(tensors);
  info.text += "\ntensors:\n" + list;
  return info;
}

Info describe_tokenizer(const fs::path& path) {
  const auto tokenizer = features::Tokenizer::load(path);
  Info info;
  info.json = {{"file", path.string()},
               {"format", "tokenizer"},
               {"kind", tokenizer->kind()},
               {"vocabulary", tokenizer->vocabulary()},
               {"bytes", fs::file_size(path)}};
  info.text = line("file", path.string()) + line("tokenizer", std::string(tokenizer->kind())) +
              line("vocabulary", fmt::format("{}", tokenizer->vocabulary()));
  return info;
}

Info describe(const fs::path& path) {
  if (!fs::exists(path)) {
    throw IoError(fmt::format("{}: no such file or folder", path.string()),
                  "give a run folder, a .safetensors file or a tokenizer.json", "file_missing");
  }
  if (fs::is_directory(path)) return describe_run(path);
  if (path.extension() == ".safetensors") return describe_safetensors(path);
  if (path.extension() == ".json" && path.filename() != run::kConfigFile &&
      path.filename() != run::kMetricsFile && path.filename() != run::kPipelineFile)
    return describe_tokenizer(path);
  throw UsageError("unknown_file",
                   fmt::format("{}: not a kind of file that info knows", path.string()),
                   "give a run folder, a .safetensors file or a tokenizer.json");
}

}  // namespace

Action declare_info(Arguments& arguments, Invocation&) {
  auto path = std::make_shared<std::string>();
  arguments.value("RUN", *path, "A run folder, a .safetensors file or a tokenizer.json").required();
  return [path](Invocation& invocation) {
    const Info info = describe(*path);
    invocation.print(invocation.json ? info.json.dump() + "\n" : info.text);
    return 0;
  };
}

}  // namespace quern::cli
