#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "quern/base/file.h"
#include "quern/features/tokenizer.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"

namespace quern::run {

class Options;

/// The version of the folder's layout that this program writes; it reads this one and older ones.
inline constexpr int kFolderFormat = 1;

// The names of what a run folder holds.
inline constexpr std::string_view kConfigFile = "config.json";
inline constexpr std::string_view kWeightsFile = "model.safetensors";
inline constexpr std::string_view kLinearFile = "linear.safetensors";
inline constexpr std::string_view kTokenizerFile = "tokenizer.json";
inline constexpr std::string_view kPipelineFile = "pipeline.json";
inline constexpr std::string_view kBackgroundFile = "background.csv";  // of a run over columns
inline constexpr std::string_view kOptionsFile = "config.resolved.toml";
inline constexpr std::string_view kMetricsFile = "metrics.json";
inline constexpr std::string_view kLogFile = "log.jsonl";
inline constexpr std::string_view kReportFile = "report.html";
inline constexpr std::string_view kCardFile = "MODEL_CARD.md";
inline constexpr std::string_view kCheckpointFolder = "checkpoints";
inline constexpr std::string_view kFoldFolder = "folds";   // logs of folds but the first
inline constexpr std::string_view kCacheFolder = "cache";  // only where the user's own fails
inline constexpr std::string_view kInferenceFolder = "inference";  // events of generate and explain

/// Every fitted preprocessing step: what must be repeated on new data. Written as pipeline.json.
struct Pipeline {
  std::string task = "generate";
  std::string data_fingerprint;              // of the text and its division
  std::string tokenizer_fingerprint;         // in hexadecimal
  std::map<std::string, std::string> split;  // how the data was divided: key, value
  std::map<std::string, uint64_t> counts;    // documents, bytes and tokens of each part
};
std::string to_json(const Pipeline& pipeline);
/// Throws FormatError, or Error("newer_version").
Pipeline pipeline_from_json(std::string_view text, std::string_view where);

/// Makes the folder and its checkpoints/. Throws IoError naming the path (no permission).
void create_run_folder(const fs::path& folder);
/// Whether the folder holds a run, finished or not: a config.resolved.toml.
bool is_run_folder(const fs::path& folder);
/// A run is finished when its metrics.json stands.
bool is_finished(const fs::path& folder);

/// Writes config.json and model.safetensors. The bytes depend on configuration and weights alone.
void save_model(const fs::path& folder, const model::ModelConfig& config,
                const graph::ParameterStore& parameters);

/// The task of a run, from its pipeline.json: "generate", "classify", "regress" or "recommend".
/// Throws as load_run.
std::string task_of(const fs::path& folder);

/// Reads weights into the parameters declared in `store`, one file, whole. Throws IoError,
/// FormatError and Error("weights_do_not_fit"). A quantised matrix NAME (rows, columns) is two
/// tensors: NAME, U8, its integers (rows, bytes of a row), and NAME.scales, F16 (rows, columns /
/// 32); the file's metadata "quantization" says Q8_0 or Q4_0. What they mean: QuantizedMatrix.
void load_weights(const fs::path& folder, graph::ParameterStore& store);
void save_weights(const fs::path& folder, const graph::ParameterStore& parameters);
/// kQ8_0 or kQ4_0 where the folder's weights are quantised, else kF32 (without weights, too).
DType quantization_of(const fs::path& folder);
/// A file of a run folder. Throws IoError naming what the folder lacks, and `purpose`.
std::string read_part(const fs::path& folder, std::string_view name, std::string_view purpose);
/// The options in force when the run was trained. Throws as read_part, and FormatError.
Options options_of(const fs::path& folder);

/// A trained model with what feeds it.
struct Run {
  fs::path folder;
  Pipeline pipeline;
  model::ModelConfig config;
  graph::ParameterStore parameters;  // without gradients
  std::shared_ptr<const features::Tokenizer> tokenizer;
};

/// Reads what every use of a run needs. Throws IoError (no such folder; a missing file, named, with
/// what it is for), FormatError (truncated or damaged), Error("newer_version"), and
/// Error("weights_do_not_fit") naming the tensor with both shapes.
Run load_run(const fs::path& folder);
/// The model alone: config.json and model.safetensors.
void load_model(const fs::path& folder, model::ModelConfig& config,
                graph::ParameterStore& parameters);

}  // namespace quern::run
