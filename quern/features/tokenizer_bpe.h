#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quern/features/tokenizer_merge_table.h"
#include "quern/formats/tokenizer_json.h"

namespace quern::features {

/// Code point to token, in pages of 256.
class CharTable {
 public:
  CharTable() : page_(0x110000 >> 8), ids_(256, kNoToken) {}
  uint32_t operator[](char32_t c) const { return ids_[size_t{page_[c >> 8]} << 8 | (c & 255)]; }
  void set(char32_t c, uint32_t id);

 private:
  std::vector<uint16_t> page_;  ///< 0: the empty page
  std::vector<uint32_t> ids_;
};

/// Buffers that merging reuses from piece to piece.
struct MergeScratch {
  struct Symbol {
    uint32_t id, previous, next, rank;
  };
  std::vector<uint32_t> ids;
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;
  struct Entry {
    uint32_t symbol, next;
  };
  std::vector<Entry> entries;         ///< by rank, in chains
  std::vector<uint32_t> first_entry;  ///< of each rank
};

/// Byte-pair encoding of one piece: the pair of lowest rank merges first, the leftmost of equals.
class BpeModel {
 public:
  /// `bytes`: what each token stands for, by id. With `byte_level` a piece starts as bytes, else as
  /// characters. Keeps views into `bytes`.
  BpeModel(const formats::TokenizerFile& file, std::span<const std::string> bytes, bool byte_level);

  /// Appends the ids of the piece. Throws Error("unknown_character") when something in it has
  /// neither a token nor a fallback.
  void encode(std::string_view piece, MergeScratch& scratch, std::vector<uint32_t>& ids) const;

  uint32_t find(std::string_view token) const;
  uint32_t byte_token(uint8_t byte) const { return byte_ids_[byte]; }
  /// Pieces start as whole characters, see `characters_first`.
  bool starts_with_characters() const { return characters_first_; }
  bool has_merges() const { return has_merges_; }

 private:
  void enter(const formats::TokenizerFile& file, uint32_t id, std::string_view token);
  bool start(std::string_view piece, std::vector<uint32_t>& ids) const;
  void start_bytes(std::string_view piece, std::vector<uint32_t>& ids) const;
  void start_unknown(std::string_view character, std::vector<uint32_t>& ids) const;
  bool characters_first(const formats::TokenizerFile& file,
                        std::span<const std::string> bytes) const;
  size_t merge_short(uint32_t* ids, size_t count) const;
  void merge_long(MergeScratch& scratch) const;
  void merge_by_heap(MergeScratch& scratch) const;
  void merge_by_rank(MergeScratch& scratch) const;
  bool look(MergeScratch& scratch, uint32_t i) const;
  void merge_pair(MergeScratch& scratch, uint32_t i) const;

  MergeTable table_;
  std::unordered_map<std::string_view, uint32_t> ids_;
  std::array<uint32_t, 256> byte_ids_{};  ///< the byte's token, or its fallback, or kNoToken
  CharTable chars_;
  uint32_t unknown_ = kNoToken;
  bool byte_level_;
  bool fuse_unknown_;
  bool ignore_merges_;
  bool has_merges_;
  bool ranks_rise_ = false;        ///< a merge's tokens come from merges of lower rank
  bool characters_first_ = false;  ///< see characters_first()
};

}  // namespace quern::features
