#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern::features {

/// Counts distinct words in bounded memory. Beyond the bound the rarest go, until half is free
/// (as in lossy counting, Manku and Motwani 2002: what is frequent stays).
class WordCounter {
 public:
  struct Word {
    std::string_view text;
    uint64_t count;
  };
  /// `memory` in bytes, of words and their entries.
  explicit WordCounter(size_t memory) : memory_(memory) {}

  void add(std::string_view word, uint64_t count = 1);
  size_t size() const { return entries_.size(); }
  /// In order of first appearance since the last pruning; valid until the next add().
  std::vector<Word> words() const;

 private:
  struct Entry {
    uint64_t hash, offset, count;
    uint32_t length;
  };
  std::string_view text(const Entry& entry) const {
    return {bytes_.data() + entry.offset, entry.length};
  }
  void rehash(size_t slots);
  void prune();

  size_t memory_;
  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  ///< entry + 1, 0: free
};

}  // namespace quern::features
