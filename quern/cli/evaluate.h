#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/cli/command.h"
#include "quern/metrics/interval.h"

namespace quern::cli {

struct EvaluateFlags {
  std::string run;
  std::vector<std::string> data;
  std::optional<int64_t> k;  // length of the lists of a run that recommends

  std::vector<fs::path> paths() const { return {data.begin(), data.end()}; }
};

// One function a kind of run; each prints its scores and returns the exit code.

/// A run that answers with a class or a value.
int evaluate_rows(Invocation& invocation, const EvaluateFlags& flags);
/// A run that recommends: the last interaction of each user of the log; of the log that it learned
/// from, what training held out.
int evaluate_items(Invocation& invocation, const EvaluateFlags& flags);
/// A run that continues text.
int evaluate_text(Invocation& invocation, const EvaluateFlags& flags);

/// Prints scores with their 95 % intervals: a table under `heading`, or with --json one object that
/// begins with `task`, `rows` and `device` (`gpu`: where the model answered), and how the scores
/// were taken where `protocol` says it.
void print_scores(const Invocation& invocation, const kernels::cuda::Gpu* gpu,
                  std::string_view task, uint64_t rows, const std::string& heading,
                  std::span<const metrics::Score> scores, std::string_view protocol = {});

}  // namespace quern::cli
