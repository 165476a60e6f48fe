#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quern/cli/command_list.h"
#include "quern/cli/evaluate.h"
#include "quern/explain/interval_json.h"
#include "quern/kernels/cuda/device_name.h"
#include "quern/run/run_folder.h"

namespace quern::cli {

void print_scores(const Invocation& invocation, const kernels::cuda::Gpu* gpu,
                  std::string_view task, uint64_t rows, const std::string& heading,
                  std::span<const metrics::Score> scores, std::string_view protocol) {
  if (invocation.json) {
    nlohmann::ordered_json json{
        {"task", task}, {"rows", rows}, {"device", kernels::cuda::device_name(gpu)}};
    if (!protocol.empty()) json["protocol"] = protocol;
    for (const metrics::Score& score : scores)
      json["metrics"][score.name] = explain::interval_json(score.interval);
    invocation.print(json.dump() + "\n");
    return;
  }
  std::string text = heading + "\n";
  for (const metrics::Score& score : scores) {
    text += std::isfinite(score.interval.value)
                ? fmt::format("{:<26}{:>12.4f}   {:.4f} to {:.4f}\n", score.name,
                              score.interval.value, score.interval.low, score.interval.high)
                : fmt::format("{:<26}{:>12}   needs rows of both classes\n", score.name, "-");
  }
  invocation.print(text);
}

Action declare_evaluate(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<EvaluateFlags>();
  arguments.value("RUN", flags->run, "The run folder that quern train wrote").required();
  arguments
      .value(
          "DATA", flags->data,
          "A table with the target column, pictures with their classes, a log of users and items, "
          "or texts")
      .required();
  add_table_flag(arguments, invocation);
  arguments.value("-k,--top", flags->k, "Length of the lists that recommend (10)").type_name("K");
  return [flags](Invocation& in) {
    const std::string task = run::task_of(flags->run);
    if (task == "generate") return evaluate_text(in, *flags);
    return task == "recommend" ? evaluate_items(in, *flags) : evaluate_rows(in, *flags);
  };
}

}  // namespace quern::cli
