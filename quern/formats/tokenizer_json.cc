#include "quern/formats/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "quern/base/error.h"
#include "quern/formats/json.h"

namespace quern::formats {
namespace {

using nlohmann::json;

constexpr std::string_view kHint =
    "Quern reads tokenizer.json files with a BPE model; train one with `quern tokenizer train`";

/// Reads one file; every error names the file and the part.
class Parser {
 public:
  explicit Parser(std::string_view where) : where_(where) {}

  TokenizerFile parse(std::string_view text) {
    const json root = parse_json(text, where_);
    if (!root.is_object()) fail("the file", "is not a JSON object");
    const json& model = member(root, "model");
    if (!model.is_object()) fail("model", "is missing");
    parse_vocabulary(model, root);
    parse_model(model);
    parse_normalizer(member(root, "normalizer"));
    parse_pre_tokenizer(member(root, "pre_tokenizer"));
    file_.truncation = member(root, "truncation").dump();
    file_.padding = member(root, "padding").dump();
    file_.post_processor = member(root, "post_processor").dump();
    file_.decoder = member(root, "decoder").dump();
    return std::move(file_);
  }

 private:
  [[noreturn]] void fail(std::string_view part, std::string_view problem) const {
    throw FormatError(fmt::format("{}: {} {}", where_, part, problem), std::string(kHint));
  }

  /// The member, or null where it is absent.
  static const json& member(const json& object, const char* key) {
    static const json null;
    const auto it = object.find(key);
    return it == object.end() ? null : *it;
  }

  bool flag(const json& object, const char* key, bool otherwise) const {
    const json& value = member(object, key);
    if (value.is_null()) return otherwise;
    if (!value.is_boolean()) fail(key, "must be true or false");
    return value.get<bool>();
  }

  std::string text(const json& object, const char* key) const {
    const json& value = member(object, key);
    if (value.is_null()) return {};
    if (!value.is_string()) fail(key, "must be a string");
    return value.get<std::string>();
  }

  uint32_t id(const json& value, std::string_view token, uint64_t limit) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= limit) {
      fail(fmt::format("the id of token \"{}\"", token),
           fmt::format("is {}; it must be a whole number below {}", value.dump(), limit));
    }
    return value.get<uint32_t>();
  }

  void place(uint32_t id, const std::string& token) {
    if (token.empty()) fail(fmt::format("token {}", id), "is empty");
    if (id >= file_.vocabulary.size()) file_.vocabulary.resize(size_t{id} + 1);
    std::string& slot = file_.vocabulary[id];
    if (!slot.empty()) {
      if (slot == token) return;
      fail(fmt::format("id {}", id), fmt::format("is given to \"{}\" and \"{}\"", slot, token));
    }
    if (!ids_.emplace(token, id).second) {
      fail(fmt::format("token \"{}\"", token), "has two ids");
    }
    slot = token;
  }

  void parse_vocabulary(const json& model, const json& root) {
    const json& vocabulary = member(model, "vocab");
    if (!vocabulary.is_object()) {
      fail("model.vocab",
           "is not a table of tokens and ids (WordPiece and Unigram models, and "
           "files without a vocabulary, are not supported)");
    }
    const json& added = member(root, "added_tokens");
    if (!added.is_null() && !added.is_array()) fail("added_tokens", "must be a list");
    // Real files leave few gaps; a bound keeps a small hostile file from asking for gigabytes.
    const uint64_t limit = 4 * uint64_t{vocabulary.size() + added.size()} + 65536;
    ids_.reserve(vocabulary.size() + added.size());
    for (const auto& [token, value] : vocabulary.items()) place(id(value, token, limit), token);
    for (const json& entry : added) {
      if (!entry.is_object()) fail("added_tokens", "holds something that is no token");
      AddedToken token;
      token.content = text(entry, "content");
      token.id = id(member(entry, "id"), token.content, limit);
      token.special = flag(entry, "special", false);
      token.single_word = flag(entry, "single_word", false);
      token.lstrip = flag(entry, "lstrip", false);
      token.rstrip = flag(entry, "rstrip", false);
      token.normalized = flag(entry, "normalized", !token.special);
      place(token.id, token.content);
      file_.added_tokens.push_back(std::move(token));
    }
    if (file_.vocabulary.empty()) fail("model.vocab", "is empty");
  }

  uint32_t token_id(const std::string& token, std::string_view part) const {
    const auto it = ids_.find(token);
    if (it == ids_.end()) fail(part, fmt::format("names \"{}\", which is no token", token));
    return it->second;
  }

  void parse_merge(const json& entry, size_t rank) {
    const std::string part = fmt::format("merge {}", rank);
    std::string left, right;
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get<std::string>();
      right = entry[1].get<std::string>();
    } else if (entry.is_string()) {
      const std::string pair = entry.get<std::string>();
      const size_t space = pair.find(' ');
      if (space == std::string::npos || pair.find(' ', space + 1) != std::string::npos) {
        fail(part, "must be two tokens with one space between");
      }
      left = pair.substr(0, space);
      right = pair.substr(space + 1);
    } else {
      fail(part, "must be \"left right\" or [\"left\", \"right\"]");
    }
    file_.merges.push_back({token_id(left, part), token_id(right, part),
                            token_id(left + right, fmt::format("the result of {}", part))});
  }

  void parse_model(const json& model) {
    const std::string type = text(model, "type");
    // Old files leave the type out; only BPE models have merges.
    if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
      fail("model.type", fmt::format("is \"{}\", which is not supported", type));
    }
    if (!text(model, "continuing_subword_prefix").empty()) {
      fail("model.continuing_subword_prefix", "is not supported");
    }
    if (!text(model, "end_of_word_suffix").empty()) {
      fail("model.end_of_word_suffix", "is not supported");
    }
    const std::string unknown = text(model, "unk_token");
    if (!unknown.empty()) file_.unknown = token_id(unknown, "model.unk_token");
    file_.fuse_unknown = flag(model, "fuse_unk", false);
    file_.byte_fallback = flag(model, "byte_fallback", false);
    file_.ignore_merges = flag(model, "ignore_merges", false);
    const json& merges = member(model, "merges");
    if (!merges.is_array()) fail("model.merges", "is not a list");
    file_.merges.reserve(merges.size());
    for (size_t rank = 0; rank < merges.size(); ++rank) parse_merge(merges[rank], rank);
  }

  /// Calls `step` on the object, or on each one of a Sequence; nested sequences do not occur.
  template <typename Step>
  void sequence(const json& node, const char* part, const char* members, Step step) {
    if (node.is_null()) return;
    if (!node.is_object()) fail(part, "must be an object");
    if (text(node, "type") != "Sequence") return step(node, text(node, "type"));
    const json& steps = member(node, members);
    if (!steps.is_array()) fail(part, "is a Sequence without a list");
    for (const json& entry : steps) {
      if (!entry.is_object()) fail(part, "holds something that is no object");
      step(entry, text(entry, "type"));
    }
  }

  void parse_normalizer(const json& node) {
    sequence(node, "normalizer", "normalizers", [&](const json&, const std::string& type) {
      if (type == "NFC") return file_.normalizers.push_back(Normalization::kNfc);
      if (type == "NFD") return file_.normalizers.push_back(Normalization::kNfd);
      if (type == "NFKC") return file_.normalizers.push_back(Normalization::kNfkc);
      if (type == "NFKD") return file_.normalizers.push_back(Normalization::kNfkd);
      fail("normalizer", fmt::format("\"{}\" is not supported", type));
    });
  }

  SplitBehavior behavior(const std::string& name) const {
    if (name == "Isolated") return SplitBehavior::kIsolated;
    if (name == "Removed") return SplitBehavior::kRemoved;
    if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
    if (name == "Contiguous") return SplitBehavior::kContiguous;
    fail("pre_tokenizer", fmt::format("has the unknown split behavior \"{}\"", name));
  }

  void parse_pre_tokenizer(const json& node) {
    sequence(node, "pre_tokenizer", "pretokenizers", [&](const json& n, const std::string& type) {
      PreTokenizer step;
      if (type == "ByteLevel") {
        step.kind = PreTokenizer::Kind::kByteLevel;
        step.add_prefix_space = flag(n, "add_prefix_space", true);
        step.use_regex = flag(n, "use_regex", true);
      } else if (type == "Digits") {
        step.kind = PreTokenizer::Kind::kDigits;
        step.individual_digits = flag(n, "individual_digits", false);
      } else if (type == "Split") {
        const json& pattern = member(n, "pattern");
        if (!pattern.is_object()) fail("pre_tokenizer", "Split has no pattern");
        const bool regex = pattern.contains("Regex");
        step.kind = regex ? PreTokenizer::Kind::kRegex : PreTokenizer::Kind::kLiteral;
        step.pattern = text(pattern, regex ? "Regex" : "String");
        if (step.pattern.empty()) fail("pre_tokenizer", "Split has an empty pattern");
        step.behavior = behavior(text(n, "behavior"));
        step.invert = flag(n, "invert", false);
      } else {
        fail("pre_tokenizer", fmt::format("\"{}\" is not supported", type));
      }
      file_.pre_tokenizers.push_back(std::move(step));
    });
    const auto& steps = file_.pre_tokenizers;
    for (size_t i = 0; i + 1 < steps.size(); ++i) {
      if (steps[i].kind == PreTokenizer::Kind::kByteLevel) {
        fail("pre_tokenizer", "has ByteLevel before its last step");
      }
    }
  }

  std::string_view where_;
  TokenizerFile file_;
  std::unordered_map<std::string, uint32_t> ids_;
};

std::string as_json(std::string_view text) { return json(text).dump(); }

std::string_view name(Normalization form) {
  switch (form) {
    case Normalization::kNfc:
      return "NFC";
    case Normalization::kNfd:
      return "NFD";
    case Normalization::kNfkc:
      return "NFKC";
    case Normalization::kNfkd:
      return "NFKD";
  }
  return "";
}

std::string_view name(SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return "Isolated";
    case SplitBehavior::kRemoved:
      return "Removed";
    case SplitBehavior::kMergedWithPrevious:
      return "MergedWithPrevious";
    case SplitBehavior::kMergedWithNext:
      return "MergedWithNext";
    case SplitBehavior::kContiguous:
      return "Contiguous";
  }
  return "";
}

std::string write_step(const PreTokenizer& step) {
  switch (step.kind) {
    case PreTokenizer::Kind::kByteLevel:
      return fmt::format(
          R"({{"type":"ByteLevel","add_prefix_space":{},"trim_offsets":true,"use_regex":{}}})",
          step.add_prefix_space, step.use_regex);
    case PreTokenizer::Kind::kDigits:
      return fmt::format(R"({{"type":"Digits","individual_digits":{}}})", step.individual_digits);
    case PreTokenizer::Kind::kRegex:
    case PreTokenizer::Kind::kLiteral:
      return fmt::format(R"({{"type":"Split","pattern":{{"{}":{}}},"behavior":"{}","invert":{}}})",
                         step.kind == PreTokenizer::Kind::kRegex ? "Regex" : "String",
                         as_json(step.pattern), name(step.behavior), step.invert);
  }
  return "";
}

/// null, the one step, or a Sequence of them.
std::string write_steps(const std::vector<std::string>& steps, std::string_view members) {
  if (steps.empty()) return "null";
  if (steps.size() == 1) return steps[0];
  return fmt::format(R"({{"type":"Sequence","{}":[{}]}})", members, fmt::join(steps, ","));
}

}  // namespace

TokenizerFile parse_tokenizer_json(std::string_view json, std::string_view where) {
  return Parser(where).parse(json);
}

std::string write_tokenizer_json(const TokenizerFile& file) {
  std::string out = fmt::format(
      "{{\n  \"version\": \"1.0\",\n  \"truncation\": {},\n  \"padding\": {},\n"
      "  \"added_tokens\": [",
      file.truncation, file.padding);
  const char* separator = "\n    ";
  for (const AddedToken& token : file.added_tokens) {
    out += fmt::format(
        R"({}{{"id":{},"content":{},"single_word":{},"lstrip":{},"rstrip":{},"normalized":{},)"
        R"("special":{}}})",
        separator, token.id, as_json(token.content), token.single_word, token.lstrip, token.rstrip,
        token.normalized, token.special);
    separator = ",\n    ";
  }
  std::vector<std::string> steps;
  for (const Normalization form : file.normalizers) {
    steps.push_back(fmt::format(R"({{"type":"{}"}})", name(form)));
  }
  out += fmt::format("\n  ],\n  \"normalizer\": {},\n", write_steps(steps, "normalizers"));
  steps.clear();
  for (const PreTokenizer& step : file.pre_tokenizers) steps.push_back(write_step(step));
  out += fmt::format(
      "  \"pre_tokenizer\": {},\n  \"post_processor\": {},\n  \"decoder\": {},\n"
      "  \"model\": {{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": {},\n"
      "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
      "    \"fuse_unk\": {},\n    \"byte_fallback\": {},\n    \"ignore_merges\": {},\n"
      "    \"vocab\": {{",
      write_steps(steps, "pretokenizers"), file.post_processor, file.decoder,
      file.unknown ? as_json(file.vocabulary.at(*file.unknown)) : "null", file.fuse_unknown,
      file.byte_fallback, file.ignore_merges);
  separator = "\n      ";
  for (size_t id = 0; id < file.vocabulary.size(); ++id) {
    if (file.vocabulary[id].empty()) continue;
    out += fmt::format("{}{}: {}", separator, as_json(file.vocabulary[id]), id);
    separator = ",\n      ";
  }
  out += "\n    },\n    \"merges\": [";
  separator = "\n      ";
  for (const Merge& merge : file.merges) {
    // "a b" is read by every version; only tokens with a space in them need the newer pairs.
    const std::string& left = file.vocabulary.at(merge.left);
    const std::string& right = file.vocabulary.at(merge.right);
    const bool spaced = (left + right).find(' ') != std::string::npos;
    out += spaced ? fmt::format("{}[{},{}]", separator, as_json(left), as_json(right))
                  : fmt::format("{}{}", separator, as_json(left + " " + right));
    separator = ",\n      ";
  }
  return out + "\n    ]\n  }\n}\n";
}

}  // namespace quern::formats
