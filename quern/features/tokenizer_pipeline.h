#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/features/tokenizer_regex.h"
#include "quern/features/tokenizer_scanner.h"
#include "quern/formats/tokenizer_json.h"

namespace quern::features {

/// One Unicode normal form after another. Malformed bytes stay as they are.
std::string normalise(std::span<const formats::Normalization> forms, std::string_view text);

/// The pre-tokenisation steps of a tokenizer.json: text to the pieces that merges stay within.
class SplitPipeline {
 public:
  SplitPipeline(std::span<const formats::PreTokenizer> steps, std::string_view where);

  /// One pattern with a scanner is all there is to it: the fast path.
  std::optional<KnownPattern> known() const { return known_; }
  bool empty() const { return steps_.empty(); }

  void split(std::string_view text, FunctionRef<void(std::string_view)> piece) const {
    apply(0, text, piece);
  }

 private:
  struct Step {
    formats::PreTokenizer rule;
    std::optional<KnownPattern> known;
    std::optional<SplitRegex> regex;
  };
  struct Part {
    size_t begin, end;
    bool match;
  };
  void apply(size_t index, std::string_view text, FunctionRef<void(std::string_view)> piece) const;
  std::vector<Part> parts(const Step& step, std::string_view text) const;

  std::vector<Step> steps_;
  std::optional<KnownPattern> known_;
};

}  // namespace quern::features
