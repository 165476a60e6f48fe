#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/explain/game.h"
#include "quern/features/tokenizer.h"
#include "quern/features/words.h"
#include "quern/graph/plan.h"
#include "quern/run/run_folder.h"
#include "quern/task/text_problem.h"

namespace quern::explain {

/// A prompt as a game: its words are the players, the value is the log-probability (or the
/// probability) of a continuation, all of whose tokens count. A hidden word's tokens are left out
/// and those after it move up; with every word hidden, the continuation begins a document. All
/// coalitions go through one plan, in batches.
class PromptGame : public Game {
 public:
  /// Of a long prompt, the end that fits the context with the continuation is looked at. The run
  /// and the parameters, its own or others of the same model, must outlive the game. Throws
  /// Error("empty_text") for a prompt without a token, and Error("too_long") for a continuation
  /// that alone fills the context.
  PromptGame(const run::Run& run, graph::ParameterStore& parameters, ThreadPool& pool,
             std::vector<uint32_t> prompt, std::vector<uint32_t> continuation, bool probability);

  size_t players() const override { return players_.size(); }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override;
  /// All words of the prompt; players() of them are looked at.
  std::span<const features::Word> words() const { return words_; }
  /// The word of each player.
  std::span<const size_t> word_of_player() const { return players_; }
  /// What is looked at of the prompt, then the continuation.
  std::vector<uint32_t> sequence() const;
  /// Tokens [first, last) of a player's word, as places in the sequence.
  std::pair<size_t, size_t> tokens_of(size_t player) const;
  size_t continuation_tokens() const { return continuation_.size(); }
  /// The token that begins a document.
  uint32_t beginning() const { return beginning_.front(); }
  uint64_t answered() const { return answered_; }
  size_t allocated_bytes() const { return executor_->allocated_bytes(); }

 private:
  void add(std::span<const uint8_t> shown, int64_t row);
  void run_batch(std::span<double> values);

  std::vector<uint32_t> prompt_, continuation_, beginning_;
  bool probability_;
  size_t first_token_ = 0;  // of the prompt, that is looked at
  std::vector<features::Word> words_;
  std::vector<size_t> players_;
  int64_t rows_ = 1, length_ = 1;  // of the plan
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> executor_;
  task::WindowBatch batch_;
  std::vector<uint32_t> sequence_, buffer_;
  uint64_t answered_ = 0;
};

/// Fills a row of it with a sequence, whose last token is a target alone; `ngrams`: with what its
/// tokens look up in the table of n-grams.
void fill_sequence(const std::vector<uint32_t>& sequence, int64_t row, bool ngrams,
                   task::WindowBatch& batch, std::vector<uint32_t>& buffer);

}  // namespace quern::explain
