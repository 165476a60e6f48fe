#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "quern/base/thread_pool.h"

namespace quern::features {

/// A regular expression from a foreign tokenizer.json, by PCRE2 with bounded matching. Its \s is
/// Unicode's White_Space, as in the engines such files are written for.
class SplitRegex {
 public:
  /// Throws FormatError naming `where`, the expression and the place in it.
  SplitRegex(std::string_view expression, std::string_view where);
  ~SplitRegex();
  SplitRegex(SplitRegex&&) noexcept;
  SplitRegex& operator=(SplitRegex&&) noexcept;

  /// Calls `match(begin, end)` for every match that is not empty, from left to right. Malformed
  /// UTF-8 in the text never matches. Throws Error("regex_limit") when a match takes too long.
  void for_each(std::string_view text, FunctionRef<void(size_t begin, size_t end)> match) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern::features
