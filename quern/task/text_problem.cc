#include "quern/task/text_problem.h"

#include "quern/model/decoder.h"

namespace quern::task {
namespace {

const model::ModelConfig& validated(const model::ModelConfig& config) {
  config.validate();
  return config;
}

}  // namespace

TextProblem::TextProblem(const model::ModelConfig& config, TokenStream train,
                         TokenStream validation, double token_dropout, uint64_t seed)
    : config_(validated(config)),
      windows_(train, config.context, seed),
      train_(std::move(train), config.context),
      validation_(std::move(validation), config.context),
      token_dropout_(token_dropout) {}

void TextProblem::declare(graph::ParameterStore& store) const {
  model::declare_parameters(config_, store);
}

void TextProblem::initialise(graph::ParameterStore& store, uint64_t seed) const {
  model::initialise(config_, store, seed);
}

graph::Graph TextProblem::trace(Use use, int64_t rows, const graph::ParameterStore& store) const {
  model::TraceOptions options;
  options.use =
      use == Use::kTrain ? model::TraceOptions::Use::kTrain : model::TraceOptions::Use::kEvaluate;
  options.batch = rows;
  return model::trace(config_, store, options);
}

WindowBatch window_of(const graph::Executor& executor, const model::ModelConfig& config) {
  WindowBatch batch;
  batch.ids = executor.input("ids");
  batch.targets = executor.input("targets");
  if (config.ngram_orders > 0) {
    batch.ngram_ids = executor.input("ngram_ids");
    batch.ngram_buckets = config.ngram_buckets;
  }
  return batch;
}

int64_t TextProblem::training_targets(uint64_t, int64_t count) {
  return count * windows_.targets_per_window();
}

void TextProblem::fill_training(uint64_t first, graph::Executor& executor) {
  windows_.fill(first, window_of(executor, config_), {token_dropout_, config_.vocabulary});
}

uint64_t TextProblem::evaluation_samples(Part part) const {
  return (part == Part::kTrain ? train_ : validation_).windows();
}

int64_t TextProblem::fill_evaluation(Part part, uint64_t first, uint64_t stride,
                                     graph::Executor& executor) {
  return (part == Part::kTrain ? train_ : validation_)
      .fill(first, stride, window_of(executor, config_));
}

}  // namespace quern::task
