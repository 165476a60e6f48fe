#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quern/base/hash.h"
#include "quern/data/document_reader.h"
#include "quern/data/text_corpus.h"

namespace quern::data {

/// What became of a document, besides the three parts.
inline constexpr uint8_t kDropped = 3;
inline constexpr uint8_t kCut = 4;

ReadOptions read_options(const TextOptions& options);

/// The first pass over a corpus, step by step: read, remove_copies, divide, finish.
class CorpusBuilder final : public DocumentSink {
 public:
  CorpusBuilder(const TextOptions& options, Reporter& reporter);

  void read(std::span<const fs::path> paths);
  void remove_copies();
  void divide();
  TextCorpus finish();

  void text(std::string_view piece) override;
  void end() override;

 private:
  struct Document {
    std::array<uint64_t, 2> hash{};
    uint64_t bytes = 0;
    uint64_t characters = 0;
  };

  void read_file(const DataFile& file, uint64_t done, uint64_t total, const Estimate& estimate);
  void note(std::string line);
  void note_facts();
  void divide_randomly(const std::vector<size_t>& kept);
  void divide_in_order(const std::vector<size_t>& kept);
  void cut_each(const std::vector<size_t>& kept);
  void count();
  void check_parts() const;

  TextCorpus corpus_;
  Reporter& reporter_;
  double validation_ = 0;  // fraction, 0 where files give it
  std::optional<fs::path> validation_path_;
  size_t validation_documents_ = 0;  // of the validation file: the first ones

  std::vector<Document> documents_;
  Document open_;
  std::string first_piece_;
  std::unique_ptr<Hasher> hasher_;
  bool pieces_ = false;

  struct Fact {
    uint64_t files = 0;
    fs::path example;
    std::string text;
  };
  std::map<std::string, Fact> facts_;  // by what they say
};

}  // namespace quern::data
