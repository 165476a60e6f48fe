#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "quern/explain/game.h"
#include "quern/explain/row_parts.h"
#include "quern/infer/row_predictor.h"

namespace quern::explain {

/// Log-odds are of probabilities this far from 0 and 1 at least: below what single precision tells
/// from 1.
inline constexpr double kLeastOdds = 1e-7;

/// Which number of a model's answer is explained.
struct RowTarget {
  enum class Scale : uint8_t { kProbability, kLogOdds, kValue };
  Scale scale = Scale::kProbability;
  size_t output = 0;  // of a class

  /// Of one row's answer: in probability, in nats, or in the target column's own units.
  double of(const run::RowPipeline& pipeline, std::span<const float> answer) const;
};

/// One row as a game. A hidden column takes the values of the background rows, one after another,
/// and the answers are averaged (the interventional expectation, Janzing et al. 2020, "Feature
/// relevance quantification in explainable AI"): each is a case. A hidden word's tokens, and the
/// n-grams that touch it, are left out; those after it move up. A hidden patch has the mean colour
/// of the training pictures. The linear model that answers start from scores what is left. All
/// coalitions go through one plan, in batches; rows of a batch that come out alike are asked once.
class RowGame : public Game {
 public:
  /// Run, predictor and row must outlive the game. `background` holds the columns alone; it may be
  /// empty where the row has none.
  RowGame(const run::RowRun& run, infer::RowPredictor& predictor, const ExplainedRow& row,
          features::EncodedRows background, RowTarget target);

  size_t players() const override { return row_.parts.size(); }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override;
  size_t cases() const override;
  void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                      std::span<double> values) override;
  /// The rows that coalitions make with one background row, as they would be asked.
  task::RowInputs rows_of(const Coalitions& coalitions, size_t background);
  /// How hidden parts are hidden, for people.
  std::string mask_policy() const;
  /// Rows that the model answered so far.
  uint64_t answered() const { return answered_; }

 private:
  struct Share {
    size_t row;    // of those asked next
    size_t value;  // that the row's answer is part of
    double weight;
  };
  bool hides_columns(std::span<const uint8_t> shown) const;
  void ask(std::span<const uint8_t> shown, size_t background, size_t value, double weight);
  void add_row(std::span<const uint8_t> shown, size_t background);
  void clear();
  void add_columns(std::span<const uint8_t> shown, size_t background);
  void add_text(std::span<const uint8_t> shown);
  void add_picture(std::span<const uint8_t> shown);
  void flush(std::span<double> values);

  const run::RowRun& run_;
  infer::RowPredictor& predictor_;
  const ExplainedRow& row_;
  features::EncodedRows background_;
  RowTarget target_;
  int64_t most_rows_;                               // asked at a time
  task::RowInputs pending_;                         // asked next
  std::unordered_map<std::string, size_t> places_;  // of what is asked next
  std::vector<Share> shares_;
  uint64_t answered_ = 0;
};

}  // namespace quern::explain
