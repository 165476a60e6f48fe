#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/explain/path_gradients.h"
#include "quern/explain/row_game.h"
#include "quern/explain/row_parts.h"
#include "quern/graph/plan.h"

namespace quern::explain {

/// One row as a path through what the model embeds it to, from baselines: for columns background
/// rows, for words the token that begins a document, for pixels the mean colour of the training
/// pictures; n-grams of a text fade in, as does what each part adds to the scores of the linear
/// model that answers start from. Gradients come from the engine's backward pass over the
/// model's own graph.
class RowPath {
 public:
  /// Run, pool and row must outlive the path. `background` holds the columns alone; it may be empty
  /// where the row has none.
  RowPath(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row,
          const features::EncodedRows& background, RowTarget target);

  const Path& path() const { return path_; }
  /// Of a point of the path.
  double operator()(std::span<const double> x, std::span<double> gradient);
  uint64_t answered() const { return answered_; }

 private:
  /// A run of coordinates that is an input of the graph; of a bag of n-grams and of linear scores
  /// the coordinates are others.
  struct Tensor {
    enum class Kind : uint8_t { kColumns, kText, kImage, kBag, kLinear };
    Kind kind;
    std::string name;
    int64_t copy = 0;
    size_t begin = 0, size = 0;
  };
  void plan();
  std::vector<float> embed(const task::RowInputs& one);
  task::RowInputs baseline(const features::EncodedRows& background, size_t index) const;
  /// What each part of the row would add to the linear scores if it were as in a baseline:
  /// (players, outputs).
  std::vector<float> linear_moves(size_t background);
  std::vector<float> gram(int64_t copy, size_t index) const;
  void write(std::span<const double> x);
  void write_bag(const Tensor& tensor, std::span<const double> x) const;
  void take(const Tensor& tensor, std::span<double> gradient) const;
  void gather(std::span<const double> coordinates, std::span<double> players) const;
  void gather_grams(std::span<const double> coordinates, std::span<double> players) const;

  run::RowRun& run_;
  ThreadPool& pool_;
  const ExplainedRow& row_;
  RowTarget target_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> shown_, given_;
  std::vector<Tensor> tensors_;
  size_t grams_begin_ = 0;   // then how much of each n-gram is there, 0 to 1
  size_t linear_begin_ = 0;  // last, the linear scores' moves: (players, outputs)
  infer::RowPredictor predictor_;
  RowGame game_;
  Path path_;
  uint64_t answered_ = 0;
};

/// A row explained by the method of gradients that `options` name. `answered` grows by the rows
/// asked. Throws UsageError("other_method") for expected gradients of a row without columns, which
/// has no background.
Attribution row_gradients(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row,
                          const features::EncodedRows& background, RowTarget target,
                          const EstimateOptions& options, uint64_t& answered);

/// Where paths begin, for people.
std::string row_path_policy(const run::RowRun& run, const features::EncodedRows& background,
                            Method method);

}  // namespace quern::explain
