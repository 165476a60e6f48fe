#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/formats/tokenizer_json.h"

namespace quern::features {

/// Cuts added tokens out of text: leftmost, longest, with Hugging Face's rules for `single_word`,
/// `lstrip` and `rstrip`.
class AddedTokenMatcher {
 public:
  /// Those of `tokens` whose `normalized` is as asked for.
  AddedTokenMatcher(std::span<const formats::AddedToken> tokens, bool normalized);

  /// Calls `text_part` with each stretch between added tokens (never empty) and `token_part` with
  /// each added token, in order. Special tokens are text unless `allow_special`.
  void split(std::string_view text, bool allow_special,
             FunctionRef<void(std::string_view)> text_part,
             FunctionRef<void(uint32_t)> token_part) const;

 private:
  struct Node {
    uint32_t first_child = 0;  ///< into edges_, sorted by byte
    uint32_t children = 0;
    int32_t token = -1;  ///< into tokens_
  };
  struct Match {
    int32_t token = -1;
    size_t length = 0;
  };
  Match longest(std::string_view text) const;

  std::vector<formats::AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::vector<std::pair<uint8_t, uint32_t>> edges_;
  std::vector<bool> first_byte_;
  bool all_special_ = true;
};

}  // namespace quern::features
