#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/data/byte_source.h"
#include "quern/data/document_reader.h"
#include "quern/data/text_files.h"
#include "quern/features/tokenizer.h"
#include "quern/features/tokenizer_training.h"
#include "quern/formats/json.h"
#include "quern/run/run_folder.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A tokenizer.json, or a run folder that has one.
std::shared_ptr<const features::Tokenizer> load(const fs::path& path) {
  return features::Tokenizer::load(fs::is_directory(path) ? path / run::kTokenizerFile : path);
}

/// Feeds documents to the trainer; pieces of one document are joined first, so that no word is cut.
class FeedingSink : public data::DocumentSink {
 public:
  explicit FeedingSink(features::TokenizerTrainer& trainer) : trainer_(trainer) {}
  void text(std::string_view piece) override {
    document_ += piece;
    if (document_.size() < kBlock) return;
    // A document larger than that is fed in parts, up to its last line end.
    const size_t line = document_.rfind('\n');
    const size_t cut = line == document_.npos ? document_.size() : line + 1;
    trainer_.feed(std::string_view(document_).substr(0, cut));
    document_.erase(0, cut);
  }
  void end() override {
    ++documents_;
    trainer_.feed(document_);
    document_.clear();
  }
  uint64_t documents() const { return documents_; }

 private:
  static constexpr size_t kBlock = size_t{1} << 22;
  features::TokenizerTrainer& trainer_;
  std::string document_;
  uint64_t documents_ = 0;
};

struct TrainFlags {
  std::vector<std::string> data;
  std::string out;
  std::string fallback = "bytes";
  bool no_end_of_text = false;
  bool any_bytes = false;
};

features::TokenizerTrainOptions train_options(const run::Options& options,
                                              const TrainFlags& flags) {
  features::TokenizerTrainOptions train;
  train.kind = features::parse_tokenizer_kind(options.text("tokenizer.kind"));
  train.pattern = features::parse_split_pattern(options.text("tokenizer.pattern"));
  if (!options.is_auto("tokenizer.vocabulary")) {
    train.vocabulary = static_cast<size_t>(options.integer("tokenizer.vocabulary"));
  }
  train.end_of_text = !flags.no_end_of_text;
  train.whole_characters = !flags.any_bytes;
  train.char_fallback = flags.fallback == "none"      ? features::CharFallback::kNone
                        : flags.fallback == "unknown" ? features::CharFallback::kUnknown
                                                      : features::CharFallback::kBytes;
  return train;
}

int train(Invocation& invocation, const TrainFlags& flags) {
  features::TokenizerTrainer trainer(train_options(invocation.options, flags));
  FeedingSink sink(trainer);
  data::ReadOptions read;
  read.column = invocation.options.text("data.column");
  if (!invocation.options.is_auto("data.documents")) {
    read.rule = data::parse_document_rule(invocation.options.text("data.documents"));
  }
  const std::vector<fs::path> paths(flags.data.begin(), flags.data.end());
  const auto start = std::chrono::steady_clock::now();
  for (const data::DataFile& file : data::list_files(paths)) {
    const auto tick = [&](uint64_t consumed) {
      invocation.reporter->progress(fmt::format("reading {}: {} of {}", file.path.string(),
                                                format_bytes(static_cast<double>(consumed)),
                                                format_bytes(static_cast<double>(file.size))));
    };
    try {
      data::read_documents(data::open_bytes(file.path), file.path, read, sink, tick);
    } catch (const Error& error) {
      const bool skip = error.code() == "binary_file" || error.code() == "empty_file";
      if (file.named || !skip) throw;
      invocation.reporter->note(fmt::format("left out: {}", error.what()));
    }
  }
  const double read_seconds = seconds_since(start);
  invocation.reporter->note(fmt::format("{} of text in {} documents, {} distinct words",
                                        format_bytes(static_cast<double>(trainer.bytes())),
                                        sink.documents(), trainer.words()));
  const auto tokenizer = trainer.finish();
  const double seconds = seconds_since(start);
  tokenizer->save(flags.out);
  if (invocation.json) {
    invocation.print(ordered_json{{"output", flags.out},
                                  {"kind", tokenizer->kind()},
                                  {"vocabulary", tokenizer->vocabulary()},
                                  {"documents", sink.documents()},
                                  {"bytes", trainer.bytes()},
                                  {"words", trainer.words()},
                                  {"read_seconds", read_seconds},
                                  {"seconds", seconds}}
                         .dump() +
                     "\n");
  } else {
    invocation.print(fmt::format("{}: {}, {} tokens, learned from {} in {}\n", flags.out,
                                 tokenizer->kind(), tokenizer->vocabulary(),
                                 format_bytes(static_cast<double>(trainer.bytes())),
                                 format_duration(seconds)));
  }
  return 0;
}

struct EncodeFlags {
  std::string tokenizer, input = "-", out = "-", format = "text";
  bool special = false;
  bool count = false;
};

/// Ids as four bytes each, little-endian, whatever the machine.
std::string pack_u32(std::span<const uint32_t> ids) {
  std::string bytes;
  bytes.reserve(ids.size() * 4);
  for (const uint32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((id >> shift) & 0xFF);
  }
  return bytes;
}

std::vector<uint32_t> unpack_u32(std::string_view bytes) {
  if (bytes.size() % 4 != 0) {
    throw Error("bad_ids", fmt::format("{} bytes are no whole number of 32-bit ids", bytes.size()),
                "give what `encode --format u32` wrote, whole");
  }
  std::vector<uint32_t> ids(bytes.size() / 4);
  for (size_t i = 0; i < bytes.size(); ++i) {
    ids[i / 4] |= uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * (i % 4));
  }
  return ids;
}

int encode(Invocation& invocation, const EncodeFlags& flags) {
  const auto tokenizer = load(flags.tokenizer);
  const std::string text = read_input(invocation, flags.input);
  std::vector<uint32_t> ids;
  const auto start = std::chrono::steady_clock::now();
  tokenizer->encode(text, ids, flags.special);
  const double seconds = seconds_since(start);
  const bool counted = flags.count || flags.out != "-";
  if (invocation.json) {
    ordered_json result = {{"tokens", ids.size()}, {"bytes", text.size()}, {"seconds", seconds}};
    if (!counted) result["ids"] = ids;
    invocation.print(result.dump() + "\n");
  } else if (counted) {
    invocation.print(fmt::format(
        "{} tokens, {} bytes, {:.3f} bytes a token\n", ids.size(), text.size(),
        static_cast<double>(text.size()) / static_cast<double>(std::max<size_t>(ids.size(), 1))));
  }
  if (flags.count || (flags.out == "-" && invocation.json)) return 0;
  write_output(invocation, flags.out,
               flags.format == "u32" ? pack_u32(ids) : fmt::format("{}\n", fmt::join(ids, " ")));
  return 0;
}

/// Whole numbers between spaces, commas, brackets and line ends.
std::vector<uint32_t> parse_ids(std::string_view text) {
  std::vector<uint32_t> ids;
  for (size_t i = 0; i < text.size();) {
    if (std::string_view(" ,[]\t\r\n").find(text[i]) != std::string_view::npos) {
      ++i;
      continue;
    }
    uint64_t id = 0;
    const size_t begin = i;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && id <= 0xFFFFFFFF; ++i) {
      id = id * 10 + static_cast<uint64_t>(text[i] - '0');
    }
    if (i == begin || id > 0xFFFFFFFF) {
      throw Error("bad_ids", fmt::format("no token id at byte {} of the input", begin),
                  "give whole numbers with spaces or commas between, as `encode` prints them");
    }
    ids.push_back(static_cast<uint32_t>(id));
  }
  return ids;
}

int decode(Invocation& invocation, const EncodeFlags& flags) {
  const auto tokenizer = load(flags.tokenizer);
  const std::string input = read_input(invocation, flags.input);
  const std::vector<uint32_t> ids = flags.format == "u32" ? unpack_u32(input) : parse_ids(input);
  const std::string text = tokenizer->decode(ids);
  if (flags.out != "-" || !invocation.json) write_output(invocation, flags.out, text);
  if (invocation.json) {
    ordered_json result = {{"tokens", ids.size()}, {"bytes", text.size()}};
    // JSON holds characters only: bytes that are none become U+FFFD.
    if (flags.out == "-") result["text"] = text;
    invocation.print(formats::json_text(result));
  }
  return 0;
}

int info(Invocation& invocation, const std::string& path) {
  const auto tokenizer = load(path);
  size_t special = 0, bytes = 0, longest = 0;
  for (uint32_t id = 0; id < tokenizer->vocabulary(); ++id) {
    if (tokenizer->is_special(id)) {
      ++special;
      continue;
    }
    const size_t size = tokenizer->token_bytes(id).size();
    bytes += size;
    longest = std::max(longest, size);
  }
  const double mean = static_cast<double>(bytes) /
                      static_cast<double>(std::max<size_t>(tokenizer->vocabulary() - special, 1));
  const std::string fingerprint = fmt::format("{:016x}", tokenizer->fingerprint());
  if (invocation.json) {
    ordered_json result = {{"file", path},
                           {"kind", tokenizer->kind()},
                           {"vocabulary", tokenizer->vocabulary()},
                           {"special", special},
                           {"end_of_text", nullptr},
                           {"mean_token_bytes", mean},
                           {"longest_token_bytes", longest},
                           {"fingerprint", fingerprint}};
    if (tokenizer->end_of_text()) result["end_of_text"] = *tokenizer->end_of_text();
    invocation.print(result.dump() + "\n");
    return 0;
  }
  invocation.print(fmt::format(
      "kind          {}\nvocabulary    {} ({} special)\nend of text   {}\ntoken bytes   {:.2f} on "
      "average, {} at most\nfingerprint   {}\n",
      tokenizer->kind(), tokenizer->vocabulary(), special,
      tokenizer->end_of_text() ? fmt::format("{}", *tokenizer->end_of_text()) : "none", mean,
      longest, fingerprint));
  return 0;
}

/// What encoding and decoding both take.
void declare_coding(Arguments& arguments, EncodeFlags& flags, const std::string& input_help,
                    const std::string& out_help) {
  arguments.value("TOKENIZER", flags.tokenizer, "A tokenizer.json or a run folder").required();
  arguments.value("INPUT", flags.input, input_help);
  arguments.value("-o,--out", flags.out, out_help);
  arguments.value("--format", flags.format, "The ids as text, or u32 (four bytes each)")
      .one_of({"text", "u32"});
}

}  // namespace

Action declare_tokenizer(Arguments& arguments, Invocation& invocation) {
  auto training = std::make_shared<TrainFlags>();
  Arguments learning = arguments.subcommand("train", "Learn a tokenizer from texts");
  learning.value("DATA", training->data, "Files or folders, as for quern train").required();
  learning.value("-o,--out", training->out, "The tokenizer.json to write").required();
  add_option_flags(learning, invocation,
                   {{"--kind", "tokenizer.kind"},
                    {"--vocabulary", "tokenizer.vocabulary"},
                    {"--pattern", "tokenizer.pattern"}});
  learning
      .value("--fallback", training->fallback,
             "What a char tokenizer does with characters it has not seen: bytes|unknown|none")
      .one_of({"bytes", "unknown", "none"});
  learning.flag("--no-end-of-text", training->no_end_of_text, "Leave out <|endoftext|>");
  learning.flag("--any-bytes", training->any_bytes,
                "Let a token hold half of one character and something of another");

  const auto coding = std::make_shared<EncodeFlags>();
  Arguments encoding = arguments.subcommand("encode", "Text to token ids");
  declare_coding(encoding, *coding, "The text; - is standard input",
                 "Where the ids go; - is standard output");
  encoding.flag("--allow-special", coding->special, "Read <|endoftext|> as the token it names");
  encoding.flag("--count", coding->count, "Print counts only");

  Arguments decoding = arguments.subcommand("decode", "Token ids to text");
  declare_coding(decoding, *coding, "Ids, with spaces or commas; - is standard input",
                 "Where the text goes; - is standard output");

  const auto path = std::make_shared<std::string>();
  Arguments describing = arguments.subcommand("info", "Kind, size, special tokens");
  describing.value("TOKENIZER", *path, "A tokenizer.json or a run folder").required();

  return [=](Invocation& in) {
    if (learning.given()) return train(in, *training);
    if (encoding.given()) return encode(in, *coding);
    return decoding.given() ? decode(in, *coding) : info(in, *path);
  };
}

}  // namespace quern::cli
