#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "quern/features/tokenizer.h"
#include "quern/infer/sampling.h"
#include "quern/infer/session.h"

namespace quern::infer {

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_tokens = 200;
  std::vector<std::string> stop;  // texts that end the output and are left out of it
  size_t candidates = 0;          // per step, the likeliest tokens to report
};

/// One drawn token.
struct GenerateStep {
  uint32_t token = 0;
  double probability = 0;  // the model's, before temperature and filters
  double entropy = 0;      // nats, of the model's distribution
  double seconds = 0;      // to read the token before it and draw this one
  std::vector<Candidate> candidates;
};

enum class StopReason : uint8_t { kLength, kEndOfText, kStopText, kInterrupted };
std::string_view name(StopReason reason);

struct GenerateResult {
  std::string text;
  std::vector<GenerateStep> steps;
  StopReason reason = StopReason::kLength;
  size_t prompt_tokens = 0;
  double prompt_seconds = 0, seconds = 0;
};

/// What sees the output as it grows.
struct GenerateObserver {
  /// Complete characters, never a part of one, never a stop text or its beginning.
  std::function<void(std::string_view text)> text;
  std::function<void(const GenerateStep& step)> step;
  std::function<bool()> interrupted;  // asked between tokens
};

/// Continues `prompt`. An empty prompt begins a document (after the end-of-text token, or a line
/// feed where the tokenizer has none).
GenerateResult generate(Session& session, const features::Tokenizer& tokenizer,
                        std::string_view prompt, const GenerateOptions& options,
                        const GenerateObserver& observer = {});

/// The tokens of a prompt, as generate() reads them.
std::vector<uint32_t> prompt_tokens(const features::Tokenizer& tokenizer, std::string_view prompt);

struct WordCandidate {
  std::string word;
  double probability = 0;
};

/// The likeliest next words after the prompt, summed over the ways to spell each in tokens: P(word)
/// = Σ over token paths of P(path) · P(a new word begins after it). A word is a run of letters,
/// marks, digits and inner apostrophes; a Chinese word here is one character, since nothing in the
/// text marks longer ones. Best-first search that stops when no open path can reach the k-th word,
/// or after `max_evaluations` model runs: then the sums are lower bounds, and `open_mass` is the
/// probability still unassigned.
struct NextWords {
  std::vector<WordCandidate> words;
  double open_mass = 0;
  size_t evaluations = 0;
};
NextWords next_words(Session& session, const features::Tokenizer& tokenizer,
                     std::string_view prompt, size_t k, size_t max_evaluations = 200);

}  // namespace quern::infer
