#pragma once

#include <cstdint>
#include <string>

#include "quern/base/thread_pool.h"
#include "quern/explain/estimate.h"
#include "quern/explain/explanation.h"
#include "quern/run/run_folder.h"

namespace quern::explain {

struct PromptQuestion {
  std::string prompt;
  std::string target;      // the continuation; empty: the likeliest one
  int64_t max_tokens = 1;  // of the likeliest
  bool probability = false;
  EstimateOptions estimate;
  bool audit = false;
  bool attention = false;   // rollout too
  size_t interactions = 0;  // pairs of parts to show; 0: not asked
};

/// Which words of a prompt make its continuation likely. Throws what PromptGame and estimate throw.
Explanation explain_prompt(run::Run& run, ThreadPool& pool, const PromptQuestion& question);

}  // namespace quern::explain
