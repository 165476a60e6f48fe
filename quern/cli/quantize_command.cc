#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/run/quantize.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string run, out, kind = "q8_0";
};

struct Errors {
  double mean = 0;
  run::QuantizedTensor largest;
};
Errors errors_of(const run::Quantized& weights) {
  Errors errors;
  for (const run::QuantizedTensor& tensor : weights.tensors) {
    errors.mean += tensor.error / static_cast<double>(weights.tensors.size());
    if (tensor.error >= errors.largest.error) errors.largest = tensor;
  }
  return errors;
}

ordered_json to_json(const Flags& flags, const run::QuantizedRun& made, const Errors& errors) {
  ordered_json json{{"run", flags.out},
                    {"kind", flags.kind},
                    {"parameters", made.weights.parameters.count()},
                    {"quantized_parameters", made.weights.quantized_parameters},
                    {"bytes", made.bytes},
                    {"bytes_before", made.bytes_before},
                    {"relative_error",
                     {{"mean", errors.mean},
                      {"largest", errors.largest.error},
                      {"largest_of", errors.largest.name}}}};
  ordered_json& tensors = json["tensors"] = ordered_json::array();
  for (const run::QuantizedTensor& tensor : made.weights.tensors)
    tensors.push_back({{"name", tensor.name}, {"relative_error", tensor.error}});
  json["float32"] = made.weights.kept;
  return json;
}

/// Matrices that stay as they are, a few by name; vectors do in any case.
std::string kept_matrices(const graph::ParameterStore& parameters) {
  constexpr int kNamed = 6;
  std::string list;
  int count = 0;
  for (const graph::ParameterInfo& info : parameters.parameters()) {
    if (info.shape.rank() < 2 || is_quantized(info.dtype) || ++count > kNamed) continue;
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", info.name, info.shape.to_string());
  }
  return count > kNamed ? fmt::format("{} and {} more", list, count - kNamed) : list;
}

int run_quantize(Invocation& invocation, const Flags& flags) {
  const DType kind = run::quantization_of_word(flags.kind);
  const run::QuantizedRun made = run::quantize_run(flags.run, flags.out, kind);
  const Errors errors = errors_of(made.weights);
  if (invocation.json) {
    invocation.print(to_json(flags, made, errors).dump() + "\n");
    return 0;
  }
  const auto bytes = [](uint64_t count) { return format_bytes(static_cast<double>(count)); };
  const auto count = [](int64_t number) { return format_count(static_cast<double>(number)); };
  std::string text = fmt::format(
      "{}: {} of {} parameters are {} now; weights of {}, before {}\n"
      "rounding moved a tensor's weights by {:.2f} % of their root mean square in the mean, by "
      "{:.2f} % at most ({})\n",
      flags.out, count(made.weights.quantized_parameters), count(made.weights.parameters.count()),
      flags.kind, bytes(made.bytes), bytes(made.bytes_before), 100 * errors.mean,
      100 * errors.largest.error, errors.largest.name);
  const std::string kept = kept_matrices(made.weights.parameters);
  if (!kept.empty()) text += fmt::format("float32 as before: vectors, and {}\n", kept);
  invocation.print(text);
  return 0;
}

}  // namespace

Action declare_quantize(Arguments& arguments, Invocation&) {
  auto flags = std::make_shared<Flags>();
  arguments.value("RUN", flags->run, "The run folder that quern train wrote").required();
  arguments.value("--to", flags->kind, "Bits of a weight: q8_0 (8) or q4_0 (4)")
      .one_of({"q8_0", "q4_0"})
      .show_default();
  arguments.value("-o,--out", flags->out, "The run folder to write").required();
  return [flags](Invocation& invocation) { return run_quantize(invocation, *flags); };
}

}  // namespace quern::cli
