#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/features/tokenizer.h"
#include "quern/run/options.h"
#include "quern/task/linear_start.h"
#include "quern/task/row_masker.h"
#include "quern/task/row_scores.h"
#include "quern/task/table_task.h"

namespace quern::train {

struct ScoredBaseline {
  std::string name;
  std::vector<metrics::Score> scores;
};

/// What a model that answers with a class or a value trains on: rows of a table, encoded and
/// divided into parts, with the baselines' scores. Its functions are called in the order in which
/// they stand.
class RowData {
 public:
  RowData(run::Options& options, Reporter& reporter, ThreadPool& pool)
      : options_(options), reporter_(reporter), pool_(pool) {}

  /// Reads and encodes the table. Throws as make_table_task.
  void read(std::span<const fs::path> paths);
  /// Decides what the options leave open, by the rows.
  void decide();
  /// Learns the tokenizer where there are texts, or takes `known` where that file stands.
  void make_tokenizer(const fs::path& known);
  void divide();
  /// The model that the options ask for on these columns.
  model::EncoderConfig configure() const;
  /// Before training, so that the time it takes is known when the steps are planned. Of several
  /// folds each baseline answers every row out of fold, too.
  void score_baselines();
  void fit_linear();
  /// Makes the rows into what the model takes.
  void prepare(const model::EncoderConfig& config);

  /// What one model trains on and is validated by, as rows among the known ones.
  struct Part {
    std::vector<size_t> train, validation;
  };
  std::span<const Part> parts() const { return parts_; }  // one a fold
  /// The training rows, then those of validation.
  const task::KnownRows& known() const { return known_; }
  size_t known_rows() const { return task_.split.train.size() + task_.split.validation.size(); }
  task::RowNoise noise() const;
  const task::TableTask& task() const { return task_; }
  run::RowPipeline& pipeline() { return task_.pipeline; }
  const features::Tokenizer* tokenizer() const { return tokenizer_.get(); }
  const features::LinearScore& linear() const { return linear_.score; }
  std::span<const ScoredBaseline> baselines() const { return baselines_; }
  uint64_t seed() const { return static_cast<uint64_t>(options_.integer("seed")); }

  /// Writes the answers to some of the known rows to their places among all.
  void scatter(const std::vector<float>& answers, std::span<const size_t> rows,
               std::vector<float>& all) const;
  /// The validated rows of answers to all known rows.
  task::RowAnswers gather(const std::vector<float>& all) const;
  /// Which of the known rows they are, and where they stand in the table.
  std::span<const size_t> validated() const { return validated_; }
  std::vector<size_t> validated_places() const;

 private:
  void fit_pictures();
  void note_augmentation();
  std::vector<size_t> known_places() const;  // where the known rows stand in the table
  uint32_t folds() const;
  int64_t outputs() const;
  task::RowTargets targets_of(std::span<const size_t> rows) const;
  task::PictureNoise picture_noise() const;
  double masked_share() const;

  run::Options& options_;
  Reporter& reporter_;
  ThreadPool& pool_;
  task::TableTask task_;
  features::EncodedRows rows_;  // the known rows, until they are prepared
  std::shared_ptr<const features::Tokenizer> tokenizer_;
  std::vector<Part> parts_;
  std::vector<size_t> validated_;  // rows of any part's validation
  task::KnownRows known_;
  task::LinearStart linear_;
  std::unique_ptr<task::RowMasker> masker_;
  std::vector<ScoredBaseline> baselines_;
};

}  // namespace quern::train
