#pragma once

#include "quern/model/model_config.h"
#include "quern/task/problem.h"
#include "quern/task/text_windows.h"

namespace quern::task {

/// The inputs of a decoder's batch.
WindowBatch window_of(const graph::Executor& executor, const model::ModelConfig& config);

/// Learning to continue text: a decoder over windows of a token stream.
class TextProblem : public Problem {
 public:
  /// `token_dropout`: rate at which training inputs are replaced. Validates the configuration.
  TextProblem(const model::ModelConfig& config, TokenStream train, TokenStream validation,
              double token_dropout, uint64_t seed);

  void declare(graph::ParameterStore& store) const override;
  void initialise(graph::ParameterStore& store, uint64_t seed) const override;
  graph::Graph trace(Use use, int64_t rows, const graph::ParameterStore& store) const override;
  uint64_t samples() const override { return windows_.windows(); }
  int64_t training_targets(uint64_t first, int64_t count) override;
  void fill_training(uint64_t first, graph::Executor& executor) override;
  uint64_t evaluation_samples(Part part) const override;
  int64_t fill_evaluation(Part part, uint64_t first, uint64_t stride,
                          graph::Executor& executor) override;
  std::string_view unit() const override { return "token"; }

 private:
  model::ModelConfig config_;
  TrainingWindows windows_;
  EvaluationWindows train_, validation_;
  double token_dropout_;
};

}  // namespace quern::task
