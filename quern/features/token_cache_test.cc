#include "quern/features/token_cache.h"

#include <gmock/gmock.h>

#include <numeric>

#include "quern/data/test_support.h"
#include "quern/features/tokenizer_training.h"

namespace quern::features {
namespace {

using data::Part;

class TokenCacheTest : public data::FolderTest {
 protected:
  data::TextCorpus corpus(const std::string& name, const std::string& text,
                          const data::TextOptions& options = {}) const {
    const fs::path path = write(name, text);
    return data::open_text_corpus(std::span(&path, 1), options, silent_reporter());
  }
  TokenCache open(const data::TextCorpus& from, const Tokenizer& tokenizer) {
    return open_token_cache(from, tokenizer, folder_ / "cache", pool_, silent_reporter());
  }
  static std::vector<uint32_t> all(const TokenPart& part) {
    std::vector<uint32_t> ids(part.tokens());
    part.read(0, ids);
    return ids;
  }
  static std::string numbered(int count) {
    std::string csv = "text\n";
    for (int i = 0; i < count; ++i) csv += "文 " + std::to_string(i) + "\n";
    return csv;
  }
  ThreadPool pool_{2};
};

TEST_F(TokenCacheTest, EndOfTextStandsAroundDocuments) {
  const auto tokenizer = Tokenizer::byte_level();
  const data::TextCorpus from = corpus("a.csv", numbered(50));
  const TokenCache cache = open(from, *tokenizer);
  EXPECT_FALSE(cache.reused);
  uint64_t documents = 0;
  for (const Part part : {Part::kTrain, Part::kValidation}) {
    std::string expected(kEndOfText);
    uint64_t bytes = 0;
    from.for_each(part, [&](const data::TextPiece& piece) {
      expected += std::string(piece.text) + std::string(kEndOfText);
      bytes += piece.text.size();
      ++documents;
    });
    EXPECT_EQ(tokenizer->decode(all(cache[part])), expected);
    EXPECT_EQ(cache[part].bytes(), bytes);
    EXPECT_EQ(cache[part].predicted_bytes(), bytes);
    EXPECT_EQ(cache[part].documents(), from.counts()[part].documents);
  }
  EXPECT_EQ(documents, 50U);
  EXPECT_EQ(cache[Part::kTest].tokens(), 0U);
}

TEST_F(TokenCacheTest, ACutTextEndsWithoutEndOfText) {
  const auto tokenizer = Tokenizer::byte_level();
  std::string text;
  for (int i = 0; i < 100; ++i) text += "你好 " + std::to_string(i) + "\n";
  const TokenCache cache = open(corpus("a.txt", text), *tokenizer);
  const std::string train = tokenizer->decode(all(cache[Part::kTrain]));
  const std::string validation = tokenizer->decode(all(cache[Part::kValidation]));
  EXPECT_EQ(train + validation, std::string(kEndOfText) + text + std::string(kEndOfText));
  EXPECT_TRUE(validation.ends_with(kEndOfText));
  EXPECT_EQ(cache[Part::kTrain].predicted_bytes(), train.size() - kEndOfText.size());
  EXPECT_EQ(cache[Part::kValidation].predicted_bytes(), cache[Part::kValidation].bytes() - 1);
}

TEST_F(TokenCacheTest, ATokenizerWithoutEndOfTextSeparatesByLines) {
  TokenizerTrainOptions options;
  options.kind = TokenizerKind::kChar;
  options.end_of_text = false;
  options.char_fallback = CharFallback::kNone;
  TokenizerTrainer trainer(options);
  trainer.feed("文0123456789 \n");
  const auto tokenizer = trainer.finish();
  const data::TextCorpus from = corpus("a.csv", numbered(60));
  const TokenCache cache = open(from, *tokenizer);
  std::string expected;
  from.for_each(Part::kTrain, [&](const data::TextPiece& piece) {
    expected += (expected.empty() ? "" : "\n") + std::string(piece.text);
  });
  EXPECT_EQ(tokenizer->decode(all(cache[Part::kTrain])), expected);
  // The first character, which nothing predicts, has three bytes.
  EXPECT_EQ(cache[Part::kTrain].predicted_bytes() + 3, cache[Part::kTrain].bytes());
}

TEST_F(TokenCacheTest, FoundAgainUnlessTextSplitOrTokenizerChange) {
  const auto tokenizer = Tokenizer::byte_level();
  const TokenCache made = open(corpus("a.csv", numbered(50)), *tokenizer);
  const TokenCache found = open(corpus("a.csv", numbered(50)), *tokenizer);
  EXPECT_TRUE(found.reused);
  EXPECT_EQ(all(found[Part::kTrain]), all(made[Part::kTrain]));
  EXPECT_EQ(found[Part::kValidation].predicted_bytes(), made[Part::kValidation].predicted_bytes());
  EXPECT_FALSE(open(corpus("a.csv", numbered(51)), *tokenizer).reused);
  data::TextOptions options;
  options.seed = 2;
  EXPECT_FALSE(open(corpus("a.csv", numbered(50), options), *tokenizer).reused);
  TokenizerTrainOptions train;
  train.vocabulary = 300;
  TokenizerTrainer trainer(train);
  trainer.feed(numbered(50));
  EXPECT_FALSE(open(corpus("a.csv", numbered(50)), *trainer.finish()).reused);
}

TEST_F(TokenCacheTest, DamageIsNoticedAndMadeGood) {
  const auto tokenizer = Tokenizer::byte_level();
  const data::TextCorpus from = corpus("a.csv", numbered(50));
  const auto expected = all(open(from, *tokenizer)[Part::kTrain]);
  for (const auto& entry : fs::directory_iterator(folder_ / "cache")) {
    const std::string good = read_file(entry.path());
    std::vector<std::string> bad = {good.substr(0, good.size() - 1), good.substr(0, 10), ""};
    for (const size_t at : {size_t{0}, good.size() / 2, good.size() - 90, good.size() - 70}) {
      if (at >= good.size()) continue;
      bad.push_back(good);
      bad.back()[at] = static_cast<char>(bad.back()[at] ^ 1);
    }
    for (const std::string& bytes : bad) {
      write_file(entry.path(), bytes);
      const TokenCache again = open(from, *tokenizer);
      EXPECT_FALSE(again.reused);
      EXPECT_EQ(all(again[Part::kTrain]), expected);
      EXPECT_EQ(read_file(entry.path()), good);
    }
  }
}

TEST_F(TokenCacheTest, LongTextsComeWholeThroughManyBatches) {
  const auto tokenizer = Tokenizer::byte_level();
  std::string text;
  while (text.size() < (size_t{20} << 20))
    text += "大江东去，浪淘尽 " + std::to_string(text.size()) + "\n";
  const data::TextCorpus from = corpus("a.txt", text);
  const TokenCache cache = open(from, *tokenizer);
  EXPECT_EQ(tokenizer->decode(all(cache[Part::kTrain]), true) +
                tokenizer->decode(all(cache[Part::kValidation]), true),
            text);
  std::vector<uint32_t> two(2);
  EXPECT_THROW(cache[Part::kTrain].read(cache[Part::kTrain].tokens() - 1, two), Error);
  EXPECT_THROW(cache[Part::kTrain].read(~uint64_t{0}, two), Error);
}

TEST(TokenCacheFolderTest, FollowsTheEnvironment) {
  const char* before = std::getenv("XDG_CACHE_HOME");
  const std::string saved = before != nullptr ? before : "";
  setenv("XDG_CACHE_HOME", "/some/where", 1);
  EXPECT_EQ(default_cache_folder(), fs::path("/some/where/quern"));
  before != nullptr ? setenv("XDG_CACHE_HOME", saved.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
}

TEST(TokenCacheFolderTest, AFolderThatCannotBeMadeIsReplacedAndSaidSo) {
  struct Notes : Reporter {
    void note(std::string_view text) override { all += text; }
    void progress(std::string_view, bool) override {}
    std::string all;
  } notes;
  const char* before = std::getenv("XDG_CACHE_HOME");
  const std::string saved = before != nullptr ? before : "";
  const fs::path folder = fs::path(testing::TempDir()) / ("cache." + std::to_string(getpid()));
  setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  EXPECT_EQ(usable_cache_folder("run/cache", notes), folder / "quern");
  EXPECT_EQ(notes.all, "");
  fs::remove_all(folder);
  write_file(folder, "in the way");
  EXPECT_EQ(usable_cache_folder("run/cache", notes), fs::path("run/cache"));
  EXPECT_NE(notes.all.find("run/cache"), std::string::npos);
  EXPECT_NE(notes.all.find(folder.string()), std::string::npos);
  fs::remove(folder);
  before != nullptr ? setenv("XDG_CACHE_HOME", saved.c_str(), 1) : unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace quern::features
