#include "quern/data/corpus_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/base/text_encoding.h"

namespace quern::data {
namespace {

constexpr size_t kFewDocuments = 20;
constexpr uint64_t kFewestCharacters = 16;

// A fraction, or nothing when the text is no number.
std::optional<double> parse_fraction(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::array<uint64_t, 2> parse_hash(const std::string& hex) {
  std::array<uint64_t, 2> hash{};
  std::from_chars(hex.data(), hex.data() + 16, hash[0], 16);
  std::from_chars(hex.data() + 16, hex.data() + 32, hash[1], 16);
  return hash;
}

std::string thousands(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

uint64_t floor_share(double share, uint64_t total) {
  // 1 - 0.1 is a little below 0.9; nanoGPT multiplies by 0.9 itself. The nudge gives its count.
  return std::min(total,
                  static_cast<uint64_t>(std::floor(share * static_cast<double>(total) + 1e-6)));
}

}  // namespace

ReadOptions read_options(const TextOptions& options) {
  ReadOptions read{options.column, std::nullopt};
  if (options.documents != "auto") read.rule = parse_document_rule(options.documents);
  return read;
}

CorpusBuilder::CorpusBuilder(const TextOptions& options, Reporter& reporter) : reporter_(reporter) {
  corpus_.options_ = options;
  if (const auto fraction = parse_fraction(options.validation)) {
    validation_ = *fraction;
  } else {
    validation_path_ = options.validation;
  }
  if (!(validation_ >= 0 && validation_ <= 0.9 && options.test >= 0 && options.test <= 0.9 &&
        validation_ + options.test <= 0.9)) {
    throw UsageError(
        "bad_value",
        fmt::format("data.validation = {} and data.test = {} leave too little to train",
                    options.validation, options.test),
        "fractions of 0 or more, together at most 0.9");
  }
  if (options.split != "auto" && options.split != "random" && options.split != "contiguous") {
    throw UsageError("bad_value", fmt::format("data.split cannot be '{}' for text", options.split),
                     "one of auto, random, contiguous");
  }
}

void CorpusBuilder::note(std::string line) {
  reporter_.note(line);
  corpus_.notes_.push_back(std::move(line));
}

void CorpusBuilder::text(std::string_view piece) {
  open_.bytes += piece.size();
  open_.characters += count_code_points(piece);
  if (!pieces_) {
    first_piece_.assign(piece);
    pieces_ = true;
    return;
  }
  if (!hasher_) {
    hasher_ = std::make_unique<Hasher>();
    hasher_->update(first_piece_);
  }
  hasher_->update(piece);
}

void CorpusBuilder::end() {
  open_.hash = parse_hash(hasher_ ? hasher_->hex() : hash128_hex(first_piece_));
  documents_.push_back(std::exchange(open_, {}));
  hasher_.reset();
  pieces_ = false;
}

void CorpusBuilder::read_file(const DataFile& file, uint64_t done, uint64_t total,
                              const Estimate& estimate) {
  uint64_t last = 0;
  const auto tick = [&](uint64_t consumed) {
    if (consumed - last < (uint64_t{16} << 20)) return;
    last = consumed;
    const auto now = static_cast<double>(done + consumed);
    reporter_.progress(fmt::format("reading {} of {}, {} left", format_bytes(now),
                                   format_bytes(static_cast<double>(total)),
                                   format_duration(estimate.seconds_left(now))));
  };
  const ReadFacts facts =
      read_documents(open_bytes(file.path), file.path, read_options(corpus_.options_), *this, tick);
  corpus_.counts_.empty_rows += facts.empty;
  std::string kind;
  std::string reason = facts.reason + "; ";
  if (facts.layout == TextLayout::kPlain) {
    kind = facts.rule == DocumentRule::kFile        ? "the whole file"
           : facts.rule == DocumentRule::kBlankLine ? "a block between empty lines"
           : facts.rule == DocumentRule::kPercent   ? "what stands between '%' lines"
                                                    : "a line";
    reason += "override: data.documents";
  } else {
    kind = facts.layout == TextLayout::kTable ? "a row" : "a JSON line";
    reason += "override: data.column";
  }
  std::string more;
  if (facts.encoding != TextEncoding::kUtf8) {
    more += fmt::format("; converted from {}", quern::name(facts.encoding));
  }
  if (facts.colour_codes > 0) more += "; terminal colour codes left out";
  Fact& fact = facts_[kind + more];
  if (fact.files++ == 0) {
    fact.example = file.path;
    fact.text = fmt::format("a document is {} ({}){}", kind, reason, more);
  }
}

void CorpusBuilder::read(std::span<const fs::path> paths) {
  std::vector<DataFile> files;
  if (validation_path_) {
    try {
      files = list_files(std::span(&*validation_path_, 1));
    } catch (const IoError& error) {
      throw IoError(std::string("data.validation: ") + error.what(),
                    "a fraction below 1, or a file that is there", error.code());
    }
  }
  const size_t validation_files = files.size();
  for (DataFile& file : list_files(paths)) files.push_back(std::move(file));
  const uint64_t total =
      std::accumulate(files.begin(), files.end(), uint64_t{0},
                      [](uint64_t sum, const DataFile& file) { return sum + file.size; });
  const Estimate estimate(static_cast<double>(total));
  uint64_t done = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    try {
      read_file(files[i], done, total, estimate);
      corpus_.files_.push_back(files[i]);
    } catch (const Error& error) {
      const bool skip = error.code() == "binary_file" || error.code() == "empty_file";
      if (files[i].named || !skip) throw;
      ++corpus_.counts_.skipped_files;
    }
    done += files[i].size;
    if (i + 1 == validation_files) validation_documents_ = documents_.size();
  }
  corpus_.counts_.files = corpus_.files_.size();
  if (documents_.size() == validation_documents_) {
    throw Error("no_text",
                fmt::format("there is no text in {}{}",
                            paths.empty() ? "" : "'" + paths.front().string() + "'",
                            paths.size() > 1 ? fmt::format(" and {} more", paths.size() - 1) : ""),
                "name a file that holds text");
  }
  note_facts();
}

void CorpusBuilder::note_facts() {
  for (const auto& [kind, fact] : facts_) {
    const std::string example = fact.example.filename().string();
    note(fact.files == 1
             ? fmt::format("{}: {}", example, fact.text)
             : fmt::format("{} files, as {}: {}", thousands(fact.files), example, fact.text));
  }
  if (corpus_.counts_.skipped_files > 0) {
    note(fmt::format("{} files of the folder are empty or no text: left out",
                     thousands(corpus_.counts_.skipped_files)));
  }
  facts_.clear();
}

void CorpusBuilder::remove_copies() {
  std::vector<size_t> order(documents_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(documents_[a].hash, a) < std::pair(documents_[b].hash, b);
  });
  corpus_.fates_.assign(documents_.size(), static_cast<uint8_t>(Part::kTrain));
  for (size_t i = 1; i < order.size(); ++i) {
    const Document& document = documents_[order[i]];
    if (document.hash != documents_[order[i - 1]].hash) continue;
    corpus_.fates_[order[i]] = kDropped;
    ++corpus_.counts_.duplicates;
    corpus_.counts_.duplicate_bytes += document.bytes;
  }
}

void CorpusBuilder::divide() {
  std::vector<size_t> kept;
  for (size_t i = 0; i < documents_.size(); ++i) {
    if (corpus_.fates_[i] == kDropped) continue;
    if (i < validation_documents_) {
      corpus_.fates_[i] = static_cast<uint8_t>(Part::kValidation);
    } else {
      kept.push_back(i);
    }
  }
  const std::string& split = corpus_.options_.split;
  const bool few = kept.size() < kFewDocuments;
  const double held = validation_ + corpus_.options_.test;
  if (validation_path_) {
    note(
        fmt::format("validation is {} (set by data.validation); training documents equal to one "
                    "of its own are removed",
                    validation_path_->string()));
  }
  if (held > 0) {
    const bool in_order = split == "contiguous" || (split == "auto" && few);
    const std::string reason =
        split != "auto" ? "set by data.split"
                        : fmt::format("{} document{}; override: data.split", thousands(kept.size()),
                                      kept.size() == 1 ? "" : "s");
    if (in_order) {
      note(fmt::format("split: the last {:g} % of {} held out ({})", held * 100,
                       !few              ? "the documents, in order, is"
                       : kept.size() > 1 ? "each document is"
                                         : "the text is",
                       reason));
      if (few) {
        cut_each(kept);
      } else {
        divide_in_order(kept);
      }
    } else {
      note(fmt::format("split: whole documents at random, {:g} % held out ({})", held * 100,
                       reason));
      divide_randomly(kept);
    }
  }
  count();
  check_parts();
}

void CorpusBuilder::divide_randomly(const std::vector<size_t>& kept) {
  std::vector<std::pair<uint64_t, size_t>> keys;
  keys.reserve(kept.size());
  for (const size_t i : kept) {
    const auto& hash = documents_[i].hash;
    const PhiloxCounter drawn =
        philox({static_cast<uint32_t>(hash[0]), static_cast<uint32_t>(hash[0] >> 32),
                static_cast<uint32_t>(hash[1]), static_cast<uint32_t>(Stream::kSplit)},
               {static_cast<uint32_t>(corpus_.options_.seed),
                static_cast<uint32_t>(corpus_.options_.seed >> 32)});
    keys.emplace_back((uint64_t{drawn[0]} << 32) | drawn[1], i);
  }
  std::sort(keys.begin(), keys.end());
  const auto share = [&](double fraction) {
    if (fraction == 0) return size_t{0};
    return std::max<size_t>(
        1, static_cast<size_t>(std::llround(fraction * static_cast<double>(kept.size()))));
  };
  const size_t validation = share(validation_);
  const size_t held = std::min(validation + share(corpus_.options_.test), keys.size());
  for (size_t i = 0; i < held; ++i) {
    corpus_.fates_[keys[i].second] =
        static_cast<uint8_t>(i < validation ? Part::kValidation : Part::kTest);
  }
}

void CorpusBuilder::divide_in_order(const std::vector<size_t>& kept) {
  uint64_t total = 0;
  for (const size_t i : kept) total += documents_[i].characters;
  const uint64_t train = floor_share(1 - validation_ - corpus_.options_.test, total);
  const uint64_t validation = floor_share(1 - corpus_.options_.test, total);
  uint64_t before = 0;
  for (const size_t i : kept) {
    before += documents_[i].characters;
    const Part part = before <= train        ? Part::kTrain
                      : before <= validation ? Part::kValidation
                                             : Part::kTest;
    // The document that straddles a border belongs to the earlier of what is held out.
    corpus_.fates_[i] = static_cast<uint8_t>(
        part == Part::kTest && before - documents_[i].characters < validation && validation_ > 0
            ? Part::kValidation
            : part);
  }
}

void CorpusBuilder::cut_each(const std::vector<size_t>& kept) {
  for (const size_t i : kept) {
    const uint64_t total = documents_[i].characters;
    const uint64_t train = floor_share(1 - validation_ - corpus_.options_.test, total);
    const uint64_t validation =
        validation_ > 0 ? floor_share(1 - corpus_.options_.test, total) : train;
    corpus_.fates_[i] = kCut;
    corpus_.cuts_.push_back({train, corpus_.options_.test > 0 ? validation : total, total});
  }
}

void CorpusBuilder::count() {
  TextCounts& counts = corpus_.counts_;
  const bool whole = corpus_.cuts_.empty();
  for (size_t i = 0; i < documents_.size(); ++i) {
    const Document& document = documents_[i];
    corpus_.read_bytes_ += document.bytes;
    const uint8_t fate = corpus_.fates_[i];
    if (fate == kDropped) continue;
    ++counts.documents;
    counts.bytes += document.bytes;
    counts.characters += document.characters;
    if (!whole) continue;
    PartCounts& part = counts.parts[fate];
    ++part.documents;
    part.bytes += document.bytes;
    part.characters += document.characters;
  }
  if (whole) return;
  // How many bytes the characters of a part take is seen only by reading them.
  corpus_.for_each([&](const TextPiece& piece) {
    PartCounts& part = counts.parts[static_cast<size_t>(piece.part)];
    part.documents += piece.first ? 1 : 0;
    part.bytes += piece.text.size();
    part.characters += count_code_points(piece.text);
  });
}

void CorpusBuilder::check_parts() const {
  const auto check = [&](Part part, bool wanted) {
    const PartCounts& counts = corpus_.counts_[part];
    if (!wanted || counts.characters >= kFewestCharacters) return;
    throw Error("too_short",
                fmt::format("the text is too short: of {} characters in {} documents, {} are left "
                            "for {}",
                            thousands(corpus_.counts_.characters),
                            thousands(corpus_.counts_.documents), counts.characters, name(part)),
                part == Part::kValidation
                    ? "give more text, a larger data.validation, or a file as data.validation"
                    : "give more text");
  };
  check(Part::kTrain, true);
  check(Part::kValidation, validation_ > 0 || validation_path_.has_value());
  check(Part::kTest, corpus_.options_.test > 0);
}

TextCorpus CorpusBuilder::finish() {
  const TextCounts& counts = corpus_.counts_;
  Hasher hasher;
  for (size_t i = 0; i < documents_.size(); ++i) {
    hasher.update({reinterpret_cast<const char*>(documents_[i].hash.data()), 16});
  }
  hasher.update({reinterpret_cast<const char*>(corpus_.fates_.data()), corpus_.fates_.size()});
  for (const auto& cut : corpus_.cuts_) {
    hasher.update({reinterpret_cast<const char*>(&cut), sizeof cut});
  }
  corpus_.fingerprint_ = hasher.hex();
  std::string parts;
  for (const Part part : {Part::kTrain, Part::kValidation, Part::kTest}) {
    if (counts[part].documents == 0) continue;
    parts += fmt::format("{}{} {} ({})", parts.empty() ? "" : ", ", name(part),
                         thousands(counts[part].documents),
                         format_bytes(static_cast<double>(counts[part].bytes)));
  }
  note(fmt::format("{} document{}, {}, {} characters; {} exact cop{} removed ({}); {}",
                   thousands(counts.documents), counts.documents == 1 ? "" : "s",
                   format_bytes(static_cast<double>(counts.bytes)), thousands(counts.characters),
                   thousands(counts.duplicates), counts.duplicates == 1 ? "y" : "ies",
                   format_bytes(static_cast<double>(counts.duplicate_bytes)), parts));
  return std::move(corpus_);
}

}  // namespace quern::data
