#include "quern/data/text_corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "quern/base/error.h"
#include "quern/base/text_encoding.h"
#include "quern/data/corpus_builder.h"
#include "quern/data/document_reader.h"

namespace quern::data {
namespace {

constexpr size_t kPieceSize = size_t{2} << 20;

// Where to cut a long text so that a tokenizer sees what it would see in the whole: behind a single
// line end between other characters, else behind any line end, else between any two characters.
size_t piece_end(std::string_view text) {
  size_t fallback = 0;
  for (size_t at = text.size() - 1; at > text.size() / 2; --at) {
    if (text[at - 1] != '\n') continue;
    if (fallback == 0) fallback = at;
    const auto is_space = [](char c) { return c == '\n' || c == ' ' || c == '\t' || c == '\r'; };
    if (!is_space(text[at]) && !is_space(text[at - 2])) return at;
  }
  return fallback != 0 ? fallback : complete_utf8_prefix(text.substr(0, text.size() / 2));
}

size_t bytes_of_characters(std::string_view text, uint64_t characters) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    const bool starts = (static_cast<uint8_t>(text[at]) & 0xC0) != 0x80;
    if (starts && characters-- == 0) break;
  }
  return at;
}

}  // namespace

std::string_view name(Part part) {
  constexpr std::array<std::string_view, kParts> kNames = {"train", "validation", "test"};
  return kNames[static_cast<size_t>(part)];
}

/// Gathers blocks into pieces and hands each to the part it belongs to.
class CorpusReader final : public DocumentSink {
 public:
  CorpusReader(const TextCorpus& corpus, FunctionRef<void(const TextPiece&)> take)
      : corpus_(corpus), take_(take) {}

  void text(std::string_view block) override {
    if (!open_) begin();
    bytes_ += block.size();
    if (fate_ == kDropped) return;
    if (fate_ != kCut) return gather(block);
    while (!block.empty()) {
      const TextCorpus::Cut& cut = corpus_.cuts_[cut_index_];
      const uint64_t limit = part_ == Part::kTrain        ? cut.train
                             : part_ == Part::kValidation ? cut.validation
                                                          : cut.total;
      const size_t size = bytes_of_characters(block, limit - characters_);
      characters_ += count_code_points(block.substr(0, size));
      gather(block.substr(0, size));
      block.remove_prefix(size);
      if (block.empty()) break;
      if (part_ == Part::kTest) changed();
      hand_over(true, false);
      next_part();
    }
  }

  void end() override {
    if (!open_) begin();
    if (fate_ != kDropped) hand_over(true, true);
    if (fate_ == kCut) ++cut_index_;
    open_ = false;
    ++document_;
  }

  void finish() const {
    if (document_ != corpus_.fates_.size() || bytes_ != corpus_.read_bytes_) changed();
  }

 private:
  [[noreturn]] static void changed() {
    throw Error("data_changed", "the data changed while it was read", "start again");
  }

  void begin() {
    if (document_ >= corpus_.fates_.size()) changed();
    fate_ = corpus_.fates_[document_];
    open_ = true;
    begins_ = true;
    first_ = true;
    characters_ = 0;
    part_ = fate_ < kParts ? static_cast<Part>(fate_) : Part::kTrain;
  }

  void next_part() {
    part_ = static_cast<Part>(static_cast<uint8_t>(part_) + 1);
    first_ = true;
  }

  void gather(std::string_view block) {
    // Short documents come in one block and need no copy until they end.
    pending_.append(block);
    while (pending_.size() > 2 * kPieceSize) {
      const size_t size = piece_end(std::string_view(pending_).substr(0, 2 * kPieceSize));
      give(std::string_view(pending_).substr(0, size), false, false);
      pending_.erase(0, size);
    }
  }

  void hand_over(bool last, bool ends) {
    if (!pending_.empty() || !first_) give(pending_, last, ends);
    pending_.clear();
  }

  void give(std::string_view text, bool last, bool ends) {
    take_({part_, text, first_, last, begins_, ends});
    first_ = false;
    begins_ = false;
  }

  const TextCorpus& corpus_;
  FunctionRef<void(const TextPiece&)> take_;
  size_t document_ = 0;
  size_t cut_index_ = 0;
  uint64_t bytes_ = 0;
  uint64_t characters_ = 0;
  uint8_t fate_ = 0;
  Part part_ = Part::kTrain;
  bool open_ = false;
  bool first_ = false;
  bool begins_ = false;
  std::string pending_;
};

void TextCorpus::for_each(FunctionRef<void(const TextPiece&)> take) const {
  CorpusReader reader(*this, take);
  const ReadOptions read = read_options(options_);
  for (const DataFile& file : files_) {
    read_documents(open_bytes(file.path), file.path, read, reader, [](uint64_t) {});
  }
  reader.finish();
}

void TextCorpus::for_each(Part part, FunctionRef<void(const TextPiece&)> take) const {
  for_each([&](const TextPiece& piece) {
    if (piece.part == part) take(piece);
  });
}

TextCorpus open_text_corpus(std::span<const fs::path> paths, const TextOptions& options,
                            Reporter& reporter) {
  CorpusBuilder builder(options, reporter);
  builder.read(paths);
  builder.remove_copies();
  builder.divide();
  return builder.finish();
}

}  // namespace quern::data
