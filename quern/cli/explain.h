#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "quern/cli/command.h"
#include "quern/explain/estimate.h"
#include "quern/explain/explanation.h"
#include "quern/explain/global.h"

namespace quern::cli {

struct ExplainFlags {
  std::string run, input, target, method = "auto", scale = "auto", background, out;
  std::string user, history, against;
  int64_t top = 1;
  int64_t max_tokens = 1;
  bool global = false;
  bool audit = false;
  int64_t interactions = 0;
  bool attention = false;
  int64_t influence = 0;
  std::string training;  // where the training data stands, for influence
  int64_t segments = 0;
  int64_t rows = 100;
  int64_t reasons = 0;
  std::string dictionary;
  bool counterfactual = false;
  std::string change;  // columns that a counterfactual may change
  int64_t row = 1;
  int64_t background_rows = 0;  // 0: all
  int64_t patches = 0;          // 0: not said
  bool events = true;           // for TensorBoard
  double tolerance = 0;
  int64_t max_evaluations = 0;
};

explain::EstimateOptions estimate_options(const Invocation& invocation, const ExplainFlags& flags);
/// Prints `text`, or the JSON under --json; writes the page, or the JSON, where --out asks for it.
void give_answer(const Invocation& invocation, const ExplainFlags& flags,
                 nlohmann::ordered_json json, const std::string& text,
                 const std::function<std::string()>& page);
/// Adds the explanations to the run's events, each at a step of its own, where they are wanted.
void write_explanation_events(const Invocation& invocation, const ExplainFlags& flags,
                              std::span<const explain::Explanation> explanations);
/// The same of what matters over a data set.
void write_explanation_events(const Invocation& invocation, const ExplainFlags& flags,
                              const explain::GlobalExplanation& global);
/// Prints the explanation, writes its events, and its page where one is asked for.
void give_explanation(const Invocation& invocation, const ExplainFlags& flags,
                      const explain::Explanation& explanation);

// By the run's task.
int explain_rows(Invocation& invocation, const ExplainFlags& flags);
int explain_text(Invocation& invocation, const ExplainFlags& flags);
int explain_items(Invocation& invocation, const ExplainFlags& flags);

}  // namespace quern::cli
