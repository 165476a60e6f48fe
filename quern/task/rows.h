#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/features/columns.h"
#include "quern/features/tokenizer.h"
#include "quern/model/encoder.h"
#include "quern/run/row_run.h"
#include "quern/task/augment.h"
#include "quern/task/problem.h"

namespace quern::task {

/// Rows as an encoder reads them: columns, and the tokens and n-grams of their texts.
struct RowInputs {
  features::EncodedRows columns;
  std::vector<uint32_t> tokens;        // of all texts
  std::vector<uint64_t> token_begins;  // (rows + 1); empty: no texts
  std::vector<int32_t> ngrams;
  std::vector<uint64_t> ngram_begins;  // (rows + 1); empty: none
  std::vector<float> linear;           // (rows, outputs) of a linear model; empty: none

  int64_t rows() const { return columns.rows; }
  /// These rows alone, in this order.
  RowInputs select(std::span<const size_t> indices) const;
};

/// n-grams of up to so many words go into the bag.
inline constexpr int64_t kBagOrders = 2;

/// Adds tokens and n-grams of the texts, cut to what the model takes. The tokenizer may be null
/// where there are no texts. `linear`: scores that the answers start from, where the model asks.
RowInputs make_row_inputs(features::EncodedRows rows, const model::EncoderConfig& config,
                          const features::Tokenizer* tokenizer, std::vector<float> linear);
/// What a trained run's linear model says of rows with their texts: RowInputs::linear. Empty where
/// the run has none.
std::vector<float> linear_scores(const features::EncodedRows& rows, const run::RowRun& run);
/// With all that a trained run keeps.
RowInputs make_row_inputs(features::EncodedRows rows, const run::RowRun& run);

class RowMasker;

/// What a training row's input goes through, so that no single column is leant on.
struct RowNoise {
  double column_dropout = 0;  // rate of a column's value being taken as missing or unknown
  double token_dropout = 0;   // rate of a token being replaced by another of the vocabulary
  PictureNoise picture;
  const RowMasker* masker = nullptr;  // hides random parts of some rows; null: of none
  std::span<const int64_t> lenders;   // rows that hidden columns take their values from
  uint64_t seed = 1;
};

/// Fills the inputs of a traced encoder: row b of the batch with row indices[b]; -1: a row of
/// padding. `first_sample` + b names row b's draw; noise only where it is given. The pool's threads
/// (null: this one) fill pictures and mask rows.
void fill_rows(const model::EncoderConfig& config, const RowInputs& rows,
               std::span<const int64_t> indices, const graph::Executor& executor,
               const RowNoise* noise = nullptr, uint64_t first_sample = 0,
               ThreadPool* pool = nullptr);

/// The answers of rows: classes, or standardised values; and what each counts for.
struct RowTargets {
  std::vector<int32_t> classes;
  std::vector<float> values;
  std::vector<float> weights;  // (rows); empty: all 1
};

/// Weighs rows so that every class counts the same and the mean weight is 1.
void balance_classes(RowTargets& targets);

/// Rows whose answers are known.
struct KnownRows {
  RowInputs inputs;
  RowTargets targets;
};

/// Learning a column from the others.
class RowsProblem : public Problem {
 public:
  /// `train` and `validation`: which of the rows; these must outlive the problem. Rows lend each
  /// other what `noise` hides within `train`.
  RowsProblem(const model::EncoderConfig& config, const KnownRows& rows, std::vector<int64_t> train,
              std::vector<int64_t> validation, const RowNoise& noise);
  /// Pictures are drawn by its threads from now on.
  void use(ThreadPool& pool) { pool_ = &pool; }

  void declare(graph::ParameterStore& store) const override;
  void initialise(graph::ParameterStore& store, uint64_t seed) const override;
  graph::Graph trace(Use use, int64_t rows, const graph::ParameterStore& store) const override;
  uint64_t samples() const override;
  int64_t training_targets(uint64_t first, int64_t count) override;
  void fill_training(uint64_t first, graph::Executor& executor) override;
  uint64_t evaluation_samples(Part part) const override;
  int64_t fill_evaluation(Part part, uint64_t first, uint64_t stride,
                          graph::Executor& executor) override;
  /// Of the averaged ensemble: negative log-likelihood, or squared error.
  double evaluation_loss(graph::Executor& executor) override;
  std::string_view unit() const override { return "row"; }

  /// What the last evaluation of the validation part answered.
  struct Evaluated {
    std::vector<int64_t> rows;   // among the known ones
    std::vector<float> answers;  // (rows, outputs), as average_members gives them
  };
  const Evaluated& evaluated() const { return kept_; }
  void begin_evaluation(Part part) override;
  void share_evaluation(FunctionRef<void(std::span<double>)> sum) override;

 private:
  void keep_answers(const std::vector<float>& answers);
  const std::vector<int64_t>& side(Part part) const {
    return part == Part::kTrain ? train_ : validation_;
  }
  void fill_partners(uint64_t first, graph::Executor& executor);
  double mix_in(uint64_t sample, uint64_t& row, float* picture) const;

  model::EncoderConfig config_;
  const KnownRows& rows_;
  std::vector<int64_t> train_, validation_;
  RowNoise noise_;
  ThreadPool* pool_ = nullptr;
  std::vector<int64_t> indices_;   // of the batch filled last
  Part evaluated_ = Part::kTrain;  // the part evaluated last
  Evaluated kept_;
};

/// The ensemble's answer for each row of logits (rows, answers(), outputs): mean probabilities of
/// the classes, or the mean value.
void average_members(const model::EncoderConfig& config, std::span<const float> logits,
                     int64_t rows, float* out);

}  // namespace quern::task
