#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/progress.h"
#include "quern/data/text_corpus.h"

namespace quern::metrics {

struct NgramOptions {
  int order = 5;  ///< 1 to 8
  /// Taken from every count, within (0, 1). Bits a byte at .7, .8, .85, .9: tiny Shakespeare 2.446,
  /// 2.439, 2.439, 2.440; Song poems 2.358, 2.321, 2.308, 2.301; Tang poems 2.472, 2.442, 2.434,
  /// 2.433. (The estimate n1 / (n1 + 2 n2) of each order gives 2.466 on the first.)
  double discount = 0.85;
  /// Learning stops at either limit; result and statement say so.
  uint64_t max_characters = 20'000'000;
  uint64_t memory = uint64_t{1} << 30;
  /// So does scoring.
  uint64_t max_scored_characters = 5'000'000;
};

/// A character (code point) or the end of a document.
using Symbol = uint32_t;
inline constexpr Symbol kDocumentEnd = 0x110000;

/// An n-gram model of characters by interpolated absolute discounting (Ney, Essen & Kneser 1994;
/// Chen & Goodman 1999, section 2.6):
///   P(c | h) = max(n(hc) - D, 0) / n(h·) + D · |{c': n(hc') > 0}| / n(h·) · P(c | h'),
/// h' the history without its oldest symbol, down to P = 1 / (symbols known + 1) for each known
/// symbol and for the escape to an unknown one, which is then spelled in UTF-8 at 1/256 a byte.
/// A document begins behind the end of another; histories never reach back over that.
class NgramModel {
 public:
  explicit NgramModel(const NgramOptions& options);
  ~NgramModel();
  NgramModel(NgramModel&&) noexcept;

  /// Starts a document, or (`true_beginning` false) the rest of one, whose history is not known.
  void begin(bool true_beginning = true);
  /// The next characters of the document. False once a limit is reached: nothing more is learned.
  bool learn(std::string_view utf8);
  bool end();

  /// P(symbol | history), the oldest symbol first; for a symbol that was never seen, of the escape
  /// alone. Over all known symbols and the escape it sums to one.
  double probability(std::span<const Symbol> history, Symbol symbol) const;
  /// P of one unknown symbol of any spelling.
  double escape_probability(std::span<const Symbol> history) const;
  bool knows(Symbol symbol) const;
  size_t known_symbols() const;

  uint64_t learned_characters() const;
  /// Of the tables.
  uint64_t bytes() const;
  /// Whether a limit was reached.
  bool full() const;
  int order() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct NgramScore {
  double nats = 0;           ///< summed over characters and document ends
  uint64_t predictions = 0;  ///< characters and document ends
  uint64_t characters = 0;
  uint64_t bytes = 0;    ///< of UTF-8; document ends count none
  uint64_t unknown = 0;  ///< characters that training never had
  double bits_per_byte() const;
  double nats_per_prediction() const;
};

/// Scores documents with a model that stays as it is.
class NgramScorer {
 public:
  explicit NgramScorer(const NgramModel& model) : model_(model) {}
  void begin(bool true_beginning = true);
  void score(std::string_view utf8);
  void end();
  const NgramScore& result() const { return score_; }

 private:
  void push(Symbol symbol, uint32_t bytes);
  const NgramModel& model_;
  NgramScore score_;
  std::vector<Symbol> history_;
};

struct NgramBaseline {
  NgramScore score;
  uint64_t learned_characters = 0;
  bool complete = true;  ///< learned and scored everything
  double seconds = 0;
  /// "interpolated absolute-discount 5-gram of characters", and what was left out.
  std::string statement;
};
/// Learns from the training part and scores another, as a language model is scored on it.
NgramBaseline ngram_baseline(const data::TextCorpus& corpus, data::Part scored,
                             const NgramOptions& options, Reporter& reporter);

}  // namespace quern::metrics
