#include "quern/metrics/ngram.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <set>

#include "quern/base/random.h"
#include "quern/base/text_encoding.h"
#include "quern/data/test_support.h"

namespace quern::metrics {
namespace {

using testing::HasSubstr;

std::vector<Symbol> symbols_of(std::string_view text) {
  std::vector<Symbol> symbols;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    symbols.push_back(point.value);
    text.remove_prefix(point.length);
  }
  return symbols;
}

std::string random_text(uint64_t seed, size_t length) {
  Random random(seed, Stream::kTest);
  const std::vector<std::string> letters = {"a", "b", "c", "你", "好", "\n", "𠀀", "é"};
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    text += letters[std::min(random.below(letters.size()), random.below(letters.size()))];
  }
  return text;
}

// The definition, word for word, over maps of whole strings.
class PlainNgram {
 public:
  PlainNgram(size_t order, double discount) : order_(order), discount_(discount) {}
  void learn(const std::vector<Symbol>& document) {
    for (size_t i = 1; i < document.size(); ++i) {
      for (size_t n = 0; n < order_ && n <= i; ++n) {
        const std::vector<Symbol> history(document.begin() + static_cast<ptrdiff_t>(i - n),
                                          document.begin() + static_cast<ptrdiff_t>(i));
        ++counts_[history][document[i]];
      }
    }
  }
  double probability(std::vector<Symbol> history, Symbol symbol) const {
    if (history.size() >= order_) {
      history.erase(history.begin(), history.end() - static_cast<ptrdiff_t>(order_ - 1));
    }
    double lower = 1.0 / static_cast<double>(counts_.at({}).size() + 1);
    if (!history.empty()) {
      lower = probability({history.begin() + 1, history.end()}, symbol);
    }
    const auto found = counts_.find(history);
    if (found == counts_.end()) return lower;
    double total = 0;
    for (const auto& [s, count] : found->second) total += count;
    const auto own = found->second.find(symbol);
    const double count = own == found->second.end() ? 0 : own->second;
    return std::max(count - discount_, 0.0) / total +
           discount_ * static_cast<double>(found->second.size()) / total * lower;
  }

 private:
  size_t order_;
  double discount_;
  std::map<std::vector<Symbol>, std::map<Symbol, int>> counts_;
};

TEST(NgramTest, AgreesWithTheDefinition) {
  for (const int order : {1, 2, 5, 7}) {
    NgramOptions options;
    options.order = order;
    options.discount = 0.6;
    NgramModel model(options);
    PlainNgram plain(static_cast<size_t>(order), 0.6);
    for (uint64_t seed = 1; seed < 5; ++seed) {
      const std::string text = random_text(seed, 300);
      model.begin();
      // In two pieces, as a long document comes.
      const size_t half = complete_utf8_prefix(std::string_view(text).substr(0, text.size() / 2));
      model.learn(std::string_view(text).substr(0, half));
      model.learn(std::string_view(text).substr(half));
      model.end();
      std::vector<Symbol> document = symbols_of(text);
      document.insert(document.begin(), kDocumentEnd);
      document.push_back(kDocumentEnd);
      plain.learn(document);
    }
    const std::vector<Symbol> probe = symbols_of(random_text(99, 200));
    for (size_t i = 0; i < probe.size(); ++i) {
      const std::vector<Symbol> history(probe.begin(), probe.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_NEAR(model.probability(history, probe[i]), plain.probability(history, probe[i]), 1e-13)
          << order << " " << i;
    }
  }
}

TEST(NgramTest, ProbabilitiesSumToOne) {
  const std::string text = random_text(3, 2000);
  NgramModel model(NgramOptions{});
  model.begin();
  model.learn(text);
  model.end();
  std::set<Symbol> known = {kDocumentEnd};
  for (const Symbol symbol : symbols_of(text)) known.insert(symbol);
  EXPECT_EQ(model.known_symbols(), known.size());
  for (const char* history : {"", "a", "你好", "ab\n", "zzzz", "a你b好", "好zab"}) {
    const std::vector<Symbol> past = symbols_of(history);
    double sum = model.escape_probability(past);
    for (const Symbol symbol : known) sum += model.probability(past, symbol);
    EXPECT_NEAR(sum, 1, 1e-12) << history;
  }
}

// One letter, by hand: after "aa" the unigram counts are a 2, end 1.
TEST(NgramTest, ScoresAsComputedByHand) {
  NgramOptions options;
  options.order = 1;
  options.discount = 0.5;
  NgramModel model(options);
  model.begin();
  model.learn("aa");
  model.end();
  const double base = 0.5 * 2 / 3.0 / 3.0;  // the discounts' mass, over two symbols and the escape
  const double a = 1.5 / 3 + base;
  const double end = 0.5 / 3 + base;
  NgramScorer scorer(model);
  scorer.begin();
  scorer.score("a你");
  scorer.end();
  const NgramScore& score = scorer.result();
  EXPECT_EQ(score.bytes, 4U);
  EXPECT_EQ(score.characters, 2U);
  EXPECT_EQ(score.predictions, 3U);
  EXPECT_EQ(score.unknown, 1U);
  EXPECT_NEAR(score.nats, -std::log(a) - std::log(base) + 3 * std::log(256.0) - std::log(end),
              1e-12);
  EXPECT_NEAR(score.bits_per_byte(), score.nats / std::log(2.0) / 4, 1e-12);
}

TEST(NgramTest, DocumentsDoNotSeeOneAnother) {
  NgramModel apart(NgramOptions{});
  for (const char* text : {"ab", "cd"}) {
    apart.begin();
    apart.learn(text);
    apart.end();
  }
  // "c" follows the beginning of a document in one of two; after "b" comes only the end.
  const std::vector<Symbol> after_b = {kDocumentEnd, 'a', 'b'};
  EXPECT_GT(apart.probability(after_b, kDocumentEnd), 0.5);
  EXPECT_LT(apart.probability(after_b, 'c'), 0.1);
  EXPECT_EQ(apart.probability(std::vector<Symbol>{kDocumentEnd}, 'a'),
            apart.probability(std::vector<Symbol>{kDocumentEnd}, 'c'));
}

TEST(NgramTest, LimitsHold) {
  NgramOptions options;
  options.memory = uint64_t{1} << 19;
  NgramModel model(options);
  model.begin();
  EXPECT_FALSE(model.learn(random_text(7, 100000)));
  EXPECT_TRUE(model.full());
  EXPECT_LE(model.bytes(), options.memory);
  EXPECT_GT(model.learned_characters(), 1000U);
  EXPECT_LT(model.learned_characters(), 100000U);
  options = {};
  options.max_characters = 10;
  NgramModel few(options);
  few.begin();
  EXPECT_FALSE(few.learn("0123456789abc"));
  EXPECT_EQ(few.learned_characters(), 10U);
  EXPECT_FALSE(few.knows('a'));
  options.order = 0;
  EXPECT_THROW(NgramModel{options}, UsageError);
  options.order = 5;
  options.discount = 1;
  EXPECT_THROW(NgramModel{options}, UsageError);
}

class NgramBaselineTest : public data::FolderTest {};

TEST_F(NgramBaselineTest, LearnsFromTrainingAndSaysWhatItLeftOut) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "To be, or not to be, that is the question.\n";
  const fs::path path = write("a.txt", text);
  const data::TextCorpus corpus =
      data::open_text_corpus(std::span(&path, 1), {}, silent_reporter());
  const NgramBaseline all = ngram_baseline(corpus, data::Part::kValidation, {}, silent_reporter());
  EXPECT_TRUE(all.complete);
  EXPECT_EQ(all.score.bytes, corpus.counts()[data::Part::kValidation].bytes);
  EXPECT_EQ(all.score.predictions, all.score.characters + 1);
  EXPECT_LT(all.score.bits_per_byte(), 0.3);
  EXPECT_EQ(all.statement, "interpolated absolute-discount 5-gram of characters");
  NgramOptions options;
  options.max_characters = 1000;
  options.max_scored_characters = 100;
  const NgramBaseline some =
      ngram_baseline(corpus, data::Part::kValidation, options, silent_reporter());
  EXPECT_FALSE(some.complete);
  EXPECT_EQ(some.learned_characters, 1000U);
  EXPECT_THAT(some.statement, HasSubstr("learned from the first"));
}

}  // namespace
}  // namespace quern::metrics
