#include "quern/features/tokenizer_bpe.h"

#include <gtest/gtest.h>

#include <map>

#include "quern/base/error.h"
#include "quern/features/tokenizer_learner.h"
#include "quern/features/tokenizer_testing.h"
#include "quern/features/tokenizer_words.h"

namespace quern::features {
namespace {

/// Byte-pair encoding as it is defined, without any cleverness.
std::vector<uint32_t> slow_merge(const std::vector<formats::Merge>& merges,
                                 std::vector<uint32_t> ids) {
  std::map<std::pair<uint32_t, uint32_t>, size_t> ranks;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    ranks[{merges[rank].left, merges[rank].right}] = rank;
  }
  for (;;) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = ranks.find({ids[i], ids[i + 1]});
      if (it != ranks.end() && it->second < best) {
        best = it->second;
        at = i;
      }
    }
    if (best == merges.size()) return ids;
    ids[at] = merges[best].result;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

/// The most frequent pair, counted anew for every merge.
std::vector<formats::Merge> slow_learn(std::span<const WordCounter::Word> words, size_t tokens,
                                       std::vector<std::string> names) {
  std::vector<std::vector<uint32_t>> symbols;
  for (const auto& word : words) {
    auto& s = symbols.emplace_back();
    for (const char c : word.text) {
      for (uint32_t id = 0; id < 256; ++id) {
        if (names[id][0] == c) s.push_back(id);
      }
    }
  }
  std::vector<formats::Merge> merges;
  while (names.size() < tokens) {
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> counts;
    for (size_t w = 0; w < symbols.size(); ++w) {
      for (size_t i = 0; i + 1 < symbols[w].size(); ++i) {
        counts[{symbols[w][i], symbols[w][i + 1]}] += words[w].count;
      }
    }
    uint64_t most = 1;
    std::pair<uint32_t, uint32_t> best;
    for (const auto& [pair, count] : counts) {
      if (count > most) {
        most = count;
        best = pair;
      }
    }
    if (most == 1) break;
    const std::string name = names[best.first] + names[best.second];
    uint32_t result = 0;
    while (result < names.size() && names[result] != name) ++result;
    if (result == names.size()) names.push_back(name);
    merges.push_back({best.first, best.second, result});
    for (auto& s : symbols) {
      std::vector<uint32_t> merged;
      for (size_t i = 0; i < s.size(); ++i) {
        if (i + 1 < s.size() && s[i] == best.first && s[i + 1] == best.second) {
          merged.push_back(result);
          ++i;
        } else {
          merged.push_back(s[i]);
        }
      }
      s = std::move(merged);
    }
  }
  return merges;
}

WordCounter awkward_words(Random& random, size_t count, bool malformed = true) {
  WordCounter counter(1 << 24);
  for (size_t i = 0; i < count; ++i)
    counter.add(awkward_text(random, 1 + random.below(5), malformed));
  return counter;
}

std::vector<uint32_t> byte_ids(const LearnedMerges& learned, std::string_view text) {
  std::vector<uint32_t> ids;
  for (const char c : text) {
    for (uint32_t id = 0; id < 256; ++id) {
      if (learned.tokens[id][0] == c) ids.push_back(id);
    }
  }
  return ids;
}

class BpeTest : public testing::TestWithParam<bool> {};

TEST_P(BpeTest, EncodesAsTheDefinitionSays) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Random random(seed, Stream::kTest, 5);
    const WordCounter counter = awkward_words(random, 400);
    const LearnedMerges learned = learn_merges(counter.words(), 700, 2, GetParam());
    ASSERT_GT(learned.merges.size(), 200U);
    formats::TokenizerFile file;
    file.vocabulary = learned.tokens;
    file.merges = learned.merges;
    const BpeModel model(file, learned.tokens, true);
    EXPECT_EQ(model.starts_with_characters(), GetParam());
    MergeScratch scratch;
    for (int round = 0; round < 300; ++round) {
      // Short pieces take the scan, long ones the heap.
      const std::string text = awkward_text(random, 1 + random.below(40), round % 3 == 0);
      std::vector<uint32_t> ids;
      model.encode(text, scratch, ids);
      ASSERT_EQ(ids, slow_merge(learned.merges, byte_ids(learned, text))) << text;
    }
  }
}

TEST_P(BpeTest, EncodesOnePieceOfManySymbols) {
  Random random(3, Stream::kTest, 5);
  WordCounter counter = awkward_words(random, 200);
  for (const size_t length : {2U, 3U, 5U, 8U, 13U}) {
    counter.add(std::string(length, 'a'));
    counter.add(std::string(length, 'a') + "b");
  }
  const LearnedMerges learned = learn_merges(counter.words(), 600, 2, GetParam());
  formats::TokenizerFile file;
  file.vocabulary = learned.tokens;
  file.merges = learned.merges;
  const BpeModel model(file, learned.tokens, true);
  MergeScratch scratch;
  for (int round = 0; round < 20; ++round) {
    std::string text;
    while (text.size() < 700) {  // above the least that goes rank by rank
      text += random.below(2) ? std::string(1 + random.below(30), 'a')
                              : awkward_text(random, 1 + random.below(9), round % 3 == 0);
    }
    std::vector<uint32_t> ids;
    model.encode(text, scratch, ids);
    ASSERT_EQ(ids, slow_merge(learned.merges, byte_ids(learned, text))) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(WholeCharacters, BpeTest, testing::Bool());

/// Merges that training would not give: ranks out of order, several ways to one token.
TEST(BpeTest, EncodesByArbitraryRanks) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed, Stream::kTest, 6);
    formats::TokenizerFile file;
    for (unsigned b = 0; b < 256; ++b) file.vocabulary.emplace_back(1, static_cast<char>(b));
    std::map<std::string, uint32_t> ids;
    for (uint32_t b = 0; b < 256; ++b) ids[file.vocabulary[b]] = b;
    const std::string alphabet = "ab\xE4\xB8\xAD";
    for (int i = 0; i < 30; ++i) {
      const auto pick = [&] {
        const uint64_t from = file.vocabulary.size() - 256 + alphabet.size();
        const uint64_t n = random.below(from);
        return n < alphabet.size() ? uint32_t{static_cast<uint8_t>(alphabet[n])}
                                   : static_cast<uint32_t>(256 + n - alphabet.size());
      };
      const uint32_t left = pick(), right = pick();
      const std::string name = file.vocabulary[left] + file.vocabulary[right];
      if (name.size() > 12) continue;
      const auto [it, fresh] = ids.emplace(name, static_cast<uint32_t>(file.vocabulary.size()));
      if (fresh) file.vocabulary.push_back(name);
      file.merges.push_back({left, right, it->second});
    }
    for (size_t i = file.merges.size(); i > 1; --i) {
      std::swap(file.merges[i - 1], file.merges[random.below(i)]);
    }
    const BpeModel model(file, file.vocabulary, true);
    MergeScratch scratch;
    for (int round = 0; round < 50; ++round) {
      std::string text;
      for (size_t i = random.below(100); i > 0; --i) {
        text += random.below(3) ? alphabet.substr(random.below(2), 1) : "\xE4\xB8\xAD";
      }
      std::vector<uint32_t> start, got;
      for (const char c : text) start.push_back(static_cast<uint8_t>(c));
      model.encode(text, scratch, got);
      ASSERT_EQ(got, slow_merge(file.merges, start)) << seed;
    }
  }
}

TEST(LearnerTest, LearnsAsTheDefinitionSays) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Random random(seed, Stream::kTest, 7);
    const WordCounter counter = awkward_words(random, 150);
    const auto words = counter.words();
    const LearnedMerges learned = learn_merges(words, 400, 2, false);
    const std::vector<std::string> bytes(learned.tokens.begin(), learned.tokens.begin() + 256);
    const auto slow = slow_learn(words, 400, bytes);
    ASSERT_EQ(learned.merges.size(), slow.size());
    for (size_t i = 0; i < slow.size(); ++i) {
      ASSERT_EQ(learned.merges[i].left, slow[i].left) << i;
      ASSERT_EQ(learned.merges[i].right, slow[i].right) << i;
      ASSERT_EQ(learned.merges[i].result, slow[i].result) << i;
    }
  }
}

TEST(LearnerTest, WholeCharactersNeverMixHalves) {
  Random random(1, Stream::kTest, 8);
  const WordCounter counter = awkward_words(random, 2000, false);
  const LearnedMerges learned = learn_merges(counter.words(), 2000, 2, true);
  for (const std::string& token : learned.tokens) {
    const bool part =
        (token[0] & 0xC0) == 0x80 || complete_utf8_prefix(token) == 0 || token.size() == 1;
    EXPECT_TRUE(part || !find_invalid_utf8(token)) << token;
  }
}

TEST(WordCounterTest, ForgetsTheRarestWhenFull) {
  WordCounter counter(1 << 16);
  for (int i = 0; i < 20000; ++i) {
    counter.add("common");
    counter.add("rare" + std::to_string(i));
    if (i % 2) counter.add("half");
  }
  EXPECT_LT(counter.size(), 2000U);
  std::map<std::string, uint64_t> counts;
  for (const auto& word : counter.words()) counts[std::string(word.text)] = word.count;
  EXPECT_EQ(counts["common"], 20000U);
  EXPECT_EQ(counts["half"], 10000U);
}

}  // namespace
}  // namespace quern::features
