#pragma once

#include <cstdint>
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

  std::vector<fs::path> paths() const { return {data.begin(), data.end()}; }
};

// One function a kind of run; each prints its scores and returns the exit code.

/// A run that answers with a class or a value.
int evaluate_rows(Invocation& invocation, const EvaluateFlags& flags);
/// A run that continues text.
int evaluate_text(Invocation& invocation, const EvaluateFlags& flags);

/// Prints scores with their 95 % intervals: a table under `heading`, or with --json one object that
/// begins with `task` and `rows`.
void print_scores(const Invocation& invocation, std::string_view task, uint64_t rows,
                  const std::string& heading, std::span<const metrics::Score> scores);

}  // namespace quern::cli
