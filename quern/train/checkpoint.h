#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quern/base/file.h"
#include "quern/tensor/tensor.h"

namespace quern::train {

/// Where training stands, besides tensors.
struct Progress {
  int64_t step = 0;            // optimizer steps done
  int64_t total_steps = 0;     // what the schedule runs towards; 0: not decided yet
  int64_t warmup_steps = 0;    // with total_steps
  int64_t evaluate_every = 0;  // with total_steps
  int64_t evaluate_limit = 0;  // windows of an evaluation; 0: all
  double seconds = 0;          // spent so far
  int64_t evaluations = 0;
  int64_t best_step = -1;   // none yet
  double best_loss = 0;     // validation, nats a token
  int64_t since_best = 0;   // evaluations without improvement
  double train_loss = 0;    // mean since the last evaluation, nats a token
  std::string fingerprint;  // of data, tokenizer, model and options: what must not change
};

/// A named run of floats in memory: the parameters, the optimizer's moments, the best weights.
/// Where a rank holds only a piece, `values` are the elements from `begin` on of the `shape`.
struct NamedTensor {
  std::string name;
  Shape shape;
  std::span<float> values;
  size_t begin = 0;
};

/// Writes folder/step-N.safetensors atomically, with a checksum over names, shapes and bytes, then
/// removes all but the last `keep`. A failure (a full disk) throws IoError and leaves the older
/// ones as they were. Every tensor must be whole.
fs::path save_checkpoint(const fs::path& folder, const Progress& progress,
                         std::span<const NamedTensor> tensors, size_t keep = 2);

/// Where a fold of a run over rows keeps its log and checkpoints: the first in the run folder.
fs::path fold_folder(const fs::path& run, size_t fold);

/// The checkpoints of a folder and their steps, newest first; none where there is no folder.
std::vector<std::pair<int64_t, fs::path>> list_checkpoints(const fs::path& folder);

/// The newest checkpoint of the folder that is whole, or nothing. Damaged ones are passed over and
/// named in `damaged`.
struct FoundCheckpoint {
  fs::path path;
  Progress progress;
};
std::optional<FoundCheckpoint> find_checkpoint(const fs::path& folder,
                                               std::vector<std::string>* damaged = nullptr);

/// Reads the progress and fills `tensors`, each or the piece of each, which must be all that the
/// file holds. Throws FormatError for a damaged file (checksum), a tensor that is missing, more, or
/// of another shape, naming it with both shapes, and Error("newer_version").
Progress load_checkpoint(const fs::path& path, std::span<const NamedTensor> tensors);

/// Reads and verifies a whole file without taking its tensors.
Progress verify_checkpoint(const fs::path& path);

}  // namespace quern::train
