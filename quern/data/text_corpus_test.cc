#include "quern/data/text_corpus.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class TextCorpusTest : public FolderTest {
 protected:
  static TextCorpus open(const std::vector<fs::path>& paths, const TextOptions& options = {}) {
    return open_text_corpus(paths, options, silent_reporter());
  }
  static std::vector<std::string> documents(const TextCorpus& corpus, Part part) {
    std::vector<std::string> found;
    corpus.for_each(part, [&](const TextPiece& piece) {
      if (piece.first) found.emplace_back();
      found.back() += piece.text;
    });
    return found;
  }
  static std::string lines(int from, int to) {
    std::string text;
    for (int i = from; i < to; ++i) text += "line number " + std::to_string(i) + "\n";
    return text;
  }
};

TEST_F(TextCorpusTest, OneLongTextIsCutAsNanoGptCutsIt) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "ROMEO:\n你好 number " + std::to_string(i) + "\n\n";
  const TextCorpus corpus = open({write("a.txt", text)});
  const auto train = documents(corpus, Part::kTrain);
  const auto validation = documents(corpus, Part::kValidation);
  ASSERT_EQ(train.size(), 1U);
  ASSERT_EQ(validation.size(), 1U);
  EXPECT_EQ(train[0] + validation[0], text);
  // int(n * 0.9) characters.
  const size_t characters = count_code_points(text);
  EXPECT_EQ(count_code_points(train[0]),
            static_cast<size_t>(static_cast<double>(characters) * 0.9));
  EXPECT_EQ(corpus.counts()[Part::kTrain].characters, count_code_points(train[0]));
  EXPECT_EQ(corpus.counts()[Part::kValidation].bytes, validation[0].size());
  EXPECT_EQ(corpus.counts().characters, characters);
  EXPECT_THAT(corpus.notes(), Contains(HasSubstr("the whole file")));
  EXPECT_THAT(corpus.notes(), Contains(HasSubstr("the last 10 % of the text")));
}

TEST_F(TextCorpusTest, PiecesOfALongTextJoinToIt) {
  const std::string text = lines(0, 700000);
  TextOptions options;
  options.test = 0.2;
  const TextCorpus corpus = open({write("a.txt.gz", gzip(text))}, options);
  std::string joined;
  std::array<size_t, kParts> firsts{};
  std::array<size_t, kParts> lasts{};
  size_t count = 0;
  corpus.for_each([&](const TextPiece& piece) {
    EXPECT_EQ(piece.begins, joined.empty());
    EXPECT_EQ(piece.ends, joined.size() + piece.text.size() == text.size());
    EXPECT_EQ(find_invalid_utf8(piece.text), std::nullopt);
    EXPECT_TRUE(piece.last || piece.text.ends_with('\n'));
    joined += piece.text;
    ++count;
    firsts[static_cast<size_t>(piece.part)] += piece.first ? 1 : 0;
    lasts[static_cast<size_t>(piece.part)] += piece.last ? 1 : 0;
  });
  EXPECT_EQ(joined, text);
  EXPECT_GE(count, 5U);
  EXPECT_THAT(firsts, ElementsAre(1, 1, 1));
  EXPECT_THAT(lasts, ElementsAre(1, 1, 1));
  const auto& counts = corpus.counts();
  EXPECT_NEAR(static_cast<double>(counts[Part::kTest].characters),
              0.2 * static_cast<double>(text.size()), 1);
}

TEST_F(TextCorpusTest, CopiesAreRemovedAndPartsAreDisjoint) {
  std::string csv = "text\n";
  for (int i = 0; i < 200; ++i) csv += "document " + std::to_string(i % 150) + "\n";
  TextOptions options;
  options.test = 0.1;
  const TextCorpus corpus = open({write("a.csv", csv)}, options);
  EXPECT_EQ(corpus.counts().documents, 150U);
  EXPECT_EQ(corpus.counts().duplicates, 50U);
  EXPECT_EQ(corpus.counts()[Part::kTrain].documents, 120U);
  EXPECT_EQ(corpus.counts()[Part::kValidation].documents, 15U);
  EXPECT_EQ(corpus.counts()[Part::kTest].documents, 15U);
  std::set<std::string> all;
  for (const Part part : {Part::kTrain, Part::kValidation, Part::kTest}) {
    const auto found = documents(corpus, part);
    EXPECT_EQ(found.size(), corpus.counts()[part].documents);
    uint64_t bytes = 0;
    for (const std::string& document : found) {
      EXPECT_TRUE(all.insert(document).second) << document;
      bytes += document.size();
    }
    EXPECT_EQ(bytes, corpus.counts()[part].bytes);
  }
  EXPECT_EQ(all.size(), 150U);
}

TEST_F(TextCorpusTest, TheSplitHangsOnSeedAndTextOnly) {
  std::string forward = "text\n";
  std::string backward = "text\n";
  for (int i = 0; i < 100; ++i) {
    forward += "document " + std::to_string(i) + "\n";
    backward += "document " + std::to_string(99 - i) + "\n";
  }
  const auto held = [&](const fs::path& path, uint64_t seed) {
    TextOptions options;
    options.seed = seed;
    const auto found = documents(open({path}, options), Part::kValidation);
    return std::set<std::string>(found.begin(), found.end());
  };
  const fs::path a = write("a.csv", forward);
  EXPECT_EQ(held(a, 1), held(write("b.csv", backward), 1));
  EXPECT_NE(held(a, 1), held(a, 2));
  EXPECT_EQ(open({a}).fingerprint(), open({a}).fingerprint());
  TextOptions other;
  other.seed = 2;
  EXPECT_NE(open({a}).fingerprint(), open({a}, other).fingerprint());
}

TEST_F(TextCorpusTest, FewFilesEachHoldOutTheirEnd) {
  write("b/two.txt", lines(1000, 2000));
  write("a.txt", lines(0, 1000));
  write("b/.hidden.txt", "hidden");
  write("b/image.png", std::string("\x89PNG\0\0\0", 7));
  write("b/empty.txt", "");
  fs::create_symlink(folder_ / "a.txt", folder_ / "link.txt");
  const TextCorpus corpus = open({folder_});
  EXPECT_EQ(corpus.counts().files, 2U);
  EXPECT_EQ(corpus.counts().skipped_files, 2U);
  const auto train = documents(corpus, Part::kTrain);
  const auto validation = documents(corpus, Part::kValidation);
  ASSERT_EQ(train.size(), 2U);
  EXPECT_EQ(train[0] + validation[0], lines(0, 1000));
  EXPECT_EQ(train[1] + validation[1], lines(1000, 2000));
}

TEST_F(TextCorpusTest, ContiguousKeepsManyDocumentsWholeAndInOrder) {
  std::string csv = "text\n";
  for (int i = 0; i < 100; ++i) csv += "document " + std::to_string(100 + i) + "\n";
  TextOptions options;
  options.split = "contiguous";
  options.test = 0.1;
  const TextCorpus corpus = open({write("a.csv", csv)}, options);
  EXPECT_EQ(documents(corpus, Part::kTrain).size(), 80U);
  EXPECT_EQ(documents(corpus, Part::kValidation).front(), "document 180");
  EXPECT_EQ(documents(corpus, Part::kTest).front(), "document 190");
}

TEST_F(TextCorpusTest, ValidationFileIsNeverTrainedOn) {
  std::string csv = "text\n";
  for (int i = 0; i < 100; ++i) csv += "document " + std::to_string(i) + "\n";
  TextOptions options;
  options.validation =
      write("v.jsonl", "{\"text\": \"document 7\"}\n{\"text\": \"something new\"}\n");
  const TextCorpus corpus = open({write("a.csv", csv)}, options);
  EXPECT_THAT(documents(corpus, Part::kValidation), ElementsAre("document 7", "something new"));
  EXPECT_EQ(documents(corpus, Part::kTrain).size(), 99U);
  EXPECT_EQ(corpus.counts().duplicates, 1U);
  options.validation = "nothing/here.txt";
  EXPECT_THAT(error_of([&] { open({folder_ / "a.csv"}, options); }),
              HasSubstr("file_missing: data.validation"));
}

TEST_F(TextCorpusTest, BadInputHasOneClearErrorEach) {
  const auto message = [&](const fs::path& path, const TextOptions& options = {}) {
    return error_of([&] { open({path}, options); });
  };
  EXPECT_THAT(message(folder_ / "none.txt"), HasSubstr("file_missing"));
  fs::create_directory(folder_ / "folder");
  EXPECT_THAT(message(folder_ / "folder"), HasSubstr("empty_folder"));
  EXPECT_THAT(message(write("empty.txt", "")), HasSubstr("empty_file"));
  EXPECT_THAT(message(write("blank.txt", " \n\n")), HasSubstr("no_text"));
  EXPECT_THAT(message(write("none.gz", gzip(""))), HasSubstr("no_text"));
  EXPECT_THAT(message(write("binary.txt", std::string("\0\1\2\3\4\0\0", 7))),
              HasSubstr("binary_file"));
  EXPECT_THAT(message(write("short.txt", "To be, or not to be.")),
              HasSubstr("too_short: the text is too short: of 20 characters"));
  EXPECT_THAT(message(write("same.csv", "text\nthe same\nthe same\nthe same\n")),
              HasSubstr("too_short"));
  const fs::path good = write("good.txt", lines(0, 100));
  TextOptions options;
  options.validation = "0.95";
  EXPECT_THAT(message(good, options), HasSubstr("bad_value"));
  options.validation = "-0.1";
  EXPECT_THAT(message(good, options), HasSubstr("bad_value"));
  options.validation = "nan";
  EXPECT_THAT(message(good, options), HasSubstr("bad_value"));
  options = {};
  options.split = "stratified";
  EXPECT_THAT(message(good, options), HasSubstr("data.split cannot be 'stratified'"));
  options = {};
  options.documents = "chapter";
  EXPECT_THAT(message(good, options), HasSubstr("data.documents cannot be 'chapter'"));
}

TEST_F(TextCorpusTest, ChangedFilesAreNoticed) {
  const fs::path path = write("a.txt", lines(0, 1000));
  const TextCorpus corpus = open({path});
  write_file(path, lines(0, 900));
  EXPECT_THAT(error_of([&] { documents(corpus, Part::kTrain); }), HasSubstr("data_changed"));
  write_file(path, lines(0, 1100));
  EXPECT_THAT(error_of([&] { documents(corpus, Part::kTrain); }), HasSubstr("data_changed"));
}

}  // namespace
}  // namespace quern::data
