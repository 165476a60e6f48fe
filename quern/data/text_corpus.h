#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/base/thread_pool.h"
#include "quern/data/text_files.h"

namespace quern::data {

enum class Part : uint8_t { kTrain, kValidation, kTest };
inline constexpr size_t kParts = 3;
/// "train", "validation", "test".
std::string_view name(Part part);

/// The keys of section [data] that text reads.
struct TextOptions {
  std::string validation = "0.1";  ///< a fraction, or a file or folder
  double test = 0;
  std::string split = "auto";      ///< auto | random | contiguous
  std::string documents = "auto";  ///< auto | file | blank_line | percent | line
  std::string column;              ///< of CSV and JSON lines; empty: text
  uint64_t seed = 1;
};

struct PartCounts {
  uint64_t documents = 0;   ///< a document cut in two counts in both parts
  uint64_t bytes = 0;       ///< of UTF-8
  uint64_t characters = 0;  ///< code points
};

struct TextCounts {
  uint64_t files = 0;
  uint64_t skipped_files = 0;  ///< empty or binary, found in a folder
  uint64_t documents = 0;      ///< kept, all parts together
  uint64_t bytes = 0;
  uint64_t characters = 0;
  uint64_t duplicates = 0;  ///< exact copies removed
  uint64_t duplicate_bytes = 0;
  uint64_t empty_rows = 0;
  std::array<PartCounts, kParts> parts;
  const PartCounts& operator[](Part part) const { return parts[static_cast<size_t>(part)]; }
};

/// A stretch of one document, within one part.
struct TextPiece {
  Part part;
  std::string_view text;  ///< whole characters, a few MiB at most where the document is longer
  bool first;             ///< of this document in this part
  bool last;              ///< of this document in this part
  bool begins;            ///< at the document's true beginning (with `first`)
  bool ends;              ///< at the document's true end (with `last`)
};

/// Text to learn from, divided into training, validation and test. Holds about 33 bytes a document
/// and no text: for_each() reads the files again, so a corpus may be larger than memory.
///
/// How it is divided (data.split):
///  - random: whole documents; those with the smallest keys, a keyed hash of their text by the
///    seed, are held out, so the split does not depend on their order.
///  - contiguous: the last tenth, in the order of the text. Below 20 documents each is cut (at
///    floor((1 - validation - test) · characters), which for one document is nanoGPT's split); from
///    20 on documents stay whole.
///  - auto: contiguous below 20 documents, else random.
/// Exact copies are removed before, the first kept; where data.validation is a file, its documents
/// are removed from training.
class TextCorpus {
 public:
  const TextCounts& counts() const { return counts_; }
  /// What was inferred and why, with the key that overrides it; then the counts.
  const std::vector<std::string>& notes() const { return notes_; }
  /// Of the text and its division: equal fingerprints give equal pieces.
  const std::string& fingerprint() const { return fingerprint_; }
  const std::vector<DataFile>& files() const { return files_; }

  /// Every piece in order: a document's pieces follow one another. Throws Error("data_changed")
  /// when the files are not what they were.
  void for_each(FunctionRef<void(const TextPiece&)> take) const;
  /// The pieces of one part.
  void for_each(Part part, FunctionRef<void(const TextPiece&)> take) const;

 private:
  friend TextCorpus open_text_corpus(std::span<const fs::path>, const TextOptions&, Reporter&);
  friend class CorpusBuilder;
  friend class CorpusReader;

  /// Characters before which a document's training ends and its validation ends.
  struct Cut {
    uint64_t train = 0, validation = 0, total = 0;
  };

  TextOptions options_;
  std::vector<DataFile> files_;  // validation files first
  std::vector<uint8_t> fates_;   // per document read: a Part, kDropped or kCut
  std::vector<Cut> cuts_;        // of documents whose fate is kCut, in order
  uint64_t read_bytes_ = 0;
  TextCounts counts_;
  std::vector<std::string> notes_;
  std::string fingerprint_;
};

/// Reads everything once: detects, counts, removes copies, divides. Notes and progress go to the
/// reporter. Throws UsageError (a fraction outside [0, 0.9], an unknown split), IoError,
/// FormatError, Error("no_text") and Error("too_short") where nothing can be held out.
TextCorpus open_text_corpus(std::span<const fs::path> paths, const TextOptions& options,
                            Reporter& reporter);

}  // namespace quern::data
