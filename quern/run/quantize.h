#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"
#include "quern/graph/store.h"

namespace quern::run {

/// The words for kQ8_0 and kQ4_0 on the command line: "q8_0", "q4_0".
std::string quantization_word(DType kind);
DType quantization_of_word(std::string_view word);

/// What rounding did to one tensor.
struct QuantizedTensor {
  std::string name;
  double error = 0;  // root mean square of what was lost over that of the weights
};

/// What became of a store's parameters.
struct Quantized {
  graph::ParameterStore parameters;
  std::vector<QuantizedTensor> tensors;  // those that are quantised
  std::vector<std::string> kept;         // those that stay float32
  int64_t quantized_parameters = 0;
};

/// The parameters again, those of `indices` as `kind` (kQ8_0 or kQ4_0), but for tensors that would
/// lose more than 2 % (8 bits) or 35 % (4 bits), by `error`: they stay float32. Throws
/// Error("quantized") where they are quantised already, Error("not_finite") naming a tensor with a
/// weight that is not a number, or too large for a scale of half precision.
Quantized quantize(const graph::ParameterStore& parameters, std::span<const int32_t> indices,
                   DType kind);

/// What quantising a run gave.
struct QuantizedRun {
  Quantized weights;
  uint64_t bytes_before = 0, bytes = 0;  // of model.safetensors
};

/// Writes `out`, the run's folder again with its weights as `kind`, but without what training goes
/// on from; it stands whole or not at all. Which weights are quantised follows from the model's
/// graph: those that only linear layers and embeddings read. Throws as load_run,
/// UsageError("run_exists") where there is something at `out`, Error("quantized") for a run that is
/// quantised, Error("nothing_to_quantize") where no weight fits, IoError.
QuantizedRun quantize_run(const fs::path& run, const fs::path& out, DType kind);

}  // namespace quern::run
