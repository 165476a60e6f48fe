#include "quern/features/tokenizer_bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "quern/base/error.h"
#include "quern/features/tokenizer_shape.h"
#include "quern/features/tokenizer_unicode.h"

namespace quern::features {
namespace {

/// Up to here scanning for the lowest rank beats keeping a heap; the bits of a word name them.
constexpr size_t kShort = 64;

const uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

/// The least of eight keys, by a tree of scalar comparisons: two of the keys were stored just now,
/// and a vector load over them would wait until the stores have left the pipeline.
int32_t least_of_eight(const int32_t* keys) {
  const auto scalar = [&](size_t i) {
    int32_t key = keys[i];
    asm("" : "+r"(key));  // keeps the compiler from making a vector of the loads
    return key;
  };
  const int32_t a = std::min(scalar(0), scalar(1)), b = std::min(scalar(2), scalar(3)),
                c = std::min(scalar(4), scalar(5)), d = std::min(scalar(6), scalar(7));
  return std::min(std::min(a, b), std::min(c, d));
}

/// The last rank that makes each token; -1: none.
std::vector<int64_t> last_made(const formats::TokenizerFile& file, size_t tokens) {
  std::vector<int64_t> made(tokens, -1);
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    made[file.merges[rank].result] = static_cast<int64_t>(rank);
  }
  return made;
}

bool ranks_rise(const formats::TokenizerFile& file, size_t tokens) {
  const std::vector<int64_t> made = last_made(file, tokens);
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const formats::Merge& merge = file.merges[rank];
    if (std::max(made[merge.left], made[merge.right]) >= static_cast<int64_t>(rank)) return false;
  }
  return true;
}

}  // namespace

void CharTable::set(char32_t c, uint32_t id) {
  uint16_t& page = page_[c >> 8];
  if (page == 0) {
    page = static_cast<uint16_t>(ids_.size() >> 8);
    ids_.resize(ids_.size() + 256, kNoToken);
  }
  ids_[size_t{page} << 8 | (c & 255)] = id;
}

BpeModel::BpeModel(const formats::TokenizerFile& file, std::span<const std::string> bytes,
                   bool byte_level)
    : table_(file.merges),
      unknown_(file.unknown.value_or(kNoToken)),
      byte_level_(byte_level),
      fuse_unknown_(file.fuse_unknown),
      ignore_merges_(file.ignore_merges),
      has_merges_(!file.merges.empty()) {
  std::vector<bool> special(bytes.size());
  for (const formats::AddedToken& token : file.added_tokens) special[token.id] = true;
  byte_ids_.fill(kNoToken);
  ids_.reserve(bytes.size());
  // The model's own tokens come before added ones of the same spelling.
  for (const bool added : {false, true}) {
    for (uint32_t id = 0; id < bytes.size(); ++id) {
      if (special[id] == added && !bytes[id].empty()) enter(file, id, bytes[id]);
    }
  }
  ranks_rise_ = ranks_rise(file, bytes.size());
  if (!byte_level_ || !characters_first(file, bytes)) return;
  for (uint32_t id = 0; id < bytes.size(); ++id) {
    const std::string& token = bytes[id];
    if (token.empty() || special[id] || !is_one_character(token)) continue;
    std::vector<uint32_t> ids;
    start_bytes(token, ids);
    if (merge_short(ids.data(), ids.size()) == 1 && ids[0] == id) {
      chars_.set(read_utf8(bytes_of(token), bytes_of(token) + token.size()).value, id);
    }
  }
  characters_first_ = true;
}

void BpeModel::enter(const formats::TokenizerFile& file, uint32_t id, std::string_view token) {
  // A byte-fallback token stands for its byte, and must not pass for the character.
  const bool fallback = file.byte_fallback && token.size() == 1 &&
                        file.vocabulary[id].size() == 6 && file.vocabulary[id].starts_with("<0x");
  if (fallback || (byte_level_ && token.size() == 1)) {
    uint32_t& slot = byte_ids_[static_cast<uint8_t>(token[0])];
    if (slot == kNoToken) slot = id;
  }
  if (fallback) return;
  ids_.emplace(token, id);
  if (byte_level_ || !is_one_character(token)) return;
  const char32_t c = read_utf8(bytes_of(token), bytes_of(token) + token.size()).value;
  if (chars_[c] == kNoToken) chars_.set(c, id);
}

/// Whether merging the bytes of each character by themselves first, and the characters then, gives
/// the same ids as merging everything at once. It does when no token holds half of one character
/// and something of another, and when a character is complete before it is part of any merge: then
/// merges inside characters and merges of characters do not meet (induction over ranks).
bool BpeModel::characters_first(const formats::TokenizerFile& file,
                                std::span<const std::string> bytes) const {
  for (const uint32_t id : byte_ids_) {
    if (id == kNoToken) return false;
  }
  std::vector<TokenShape> shapes;
  shapes.reserve(bytes.size());
  for (const std::string& token : bytes) shapes.push_back(shape_of(token));
  const std::vector<int64_t> made = last_made(file, bytes.size());
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const formats::Merge& merge = file.merges[rank];
    if (bytes[merge.result] != bytes[merge.left] + bytes[merge.right]) return false;
    const bool inside = merges_within_character(shapes[merge.left], shapes[merge.right]);
    const bool whole = merges_whole_characters(shapes[merge.left], shapes[merge.right]);
    if (!whole && !inside) return false;
    for (const uint32_t part : {merge.left, merge.right}) {
      const bool single = inside || is_one_character(bytes[part]);
      if (single && made[part] >= static_cast<int64_t>(rank)) return false;
    }
  }
  return true;
}

uint32_t BpeModel::find(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? kNoToken : it->second;
}

void BpeModel::start_bytes(std::string_view piece, std::vector<uint32_t>& ids) const {
  for (const char c : piece) {
    const uint32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id == kNoToken) {
      start_unknown({&c, 1}, ids);
    } else {
      ids.push_back(id);
    }
  }
}

/// Bytes where all of them have a token, else the unknown token.
void BpeModel::start_unknown(std::string_view character, std::vector<uint32_t>& ids) const {
  const uint8_t* p = bytes_of(character);
  const auto has = [&](uint8_t b) { return byte_ids_[b] != kNoToken; };
  if (std::all_of(p, p + character.size(), has)) {
    for (size_t i = 0; i < character.size(); ++i) ids.push_back(byte_ids_[p[i]]);
  } else if (unknown_ != kNoToken) {
    if (!fuse_unknown_ || ids.empty() || ids.back() != unknown_) ids.push_back(unknown_);
  } else {
    std::string shown;
    for (const char c : character) shown += fmt::format("{:02x} ", static_cast<uint8_t>(c));
    shown.pop_back();
    const bool readable = is_one_character(character) && static_cast<uint8_t>(character[0]) >= 32;
    throw Error("unknown_character",
                fmt::format("the tokenizer has no token for {}(bytes {})",
                            readable ? fmt::format("\"{}\" ", character) : "", shown),
                "train the tokenizer on text that has it, or with byte fallback (the default)");
  }
}

/// The symbols to merge from. False: bytes_first text that must go byte by byte.
bool BpeModel::start(std::string_view piece, std::vector<uint32_t>& ids) const {
  const uint8_t* p = bytes_of(piece);
  const uint8_t* end = p + piece.size();
  while (p < end) {
    if (*p < 0x80 && byte_level_) {
      ids.push_back(byte_ids_[*p++]);
      continue;
    }
    const Utf8Char c = read_utf8(p, end);
    const std::string_view character(reinterpret_cast<const char*>(p), c.length);
    p += c.length;
    if (c.value == Utf8Char::kMalformed) {
      if (byte_level_) return false;
      for (const char& byte : character) start_unknown({&byte, 1}, ids);
      continue;
    }
    const uint32_t id = chars_[c.value];
    if (id != kNoToken) {
      ids.push_back(id);
    } else if (!byte_level_) {
      start_unknown(character, ids);
    } else {
      const size_t first = ids.size();
      start_bytes(character, ids);
      ids.resize(first + merge_short(ids.data() + first, ids.size() - first));
    }
  }
  return true;
}

void BpeModel::encode(std::string_view piece, MergeScratch& scratch,
                      std::vector<uint32_t>& ids) const {
  if (ignore_merges_) {
    if (const uint32_t id = find(piece); id != kNoToken) {
      ids.push_back(id);
      return;
    }
  }
  if (!has_merges_) {
    byte_level_ ? start_bytes(piece, ids) : void(start(piece, ids));
    return;
  }
  scratch.ids.clear();
  const bool by_character = characters_first_ || !byte_level_;
  if (!by_character || !start(piece, scratch.ids)) {
    scratch.ids.clear();
    start_bytes(piece, scratch.ids);
  }
  if (scratch.ids.size() <= kShort) {
    scratch.ids.resize(merge_short(scratch.ids.data(), scratch.ids.size()));
  } else {
    merge_long(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

/// Merges in place, count <= kShort; returns how many ids are left. Symbols keep their places: a
/// merge clears the right one's bit in `alive`, and the least of (rank, place) is the next merge.
size_t BpeModel::merge_short(uint32_t* ids, size_t count) const {
  if (count < 2) return count;
  constexpr int32_t kNever = 0x7FFFFFFF;
  constexpr size_t kLanes = 8;
  static_assert(MergeTable::kRankBits + 6 < 31);
  int32_t keys[kShort];
  const size_t padded = (count + kLanes - 1) / kLanes * kLanes;
  const auto key = [&](size_t left, size_t right) {
    const uint32_t rank = table_.rank(ids[left], ids[right]);
    return rank == MergeTable::kNoRank ? kNever : static_cast<int32_t>(rank << 6 | left);
  };
  for (size_t i = 0; i + 1 < count; ++i) keys[i] = key(i, i + 1);
  for (size_t i = count - 1; i < padded; ++i) keys[i] = kNever;
  uint64_t alive = ~uint64_t{0} >> (64 - count);
  for (;;) {
    int32_t least = least_of_eight(keys);
    for (size_t block = kLanes; block < padded; block += kLanes) {
      least = std::min(least, least_of_eight(keys + block));
    }
    if (least == kNever) break;
    const auto at = static_cast<size_t>(least & 63);
    ids[at] = table_.result(static_cast<uint32_t>(least >> 6));
    const uint64_t after = ~uint64_t{1} << at;
    const auto gone = static_cast<size_t>(std::countr_zero(alive & after));
    alive &= ~(uint64_t{1} << gone);
    keys[gone] = kNever;
    const uint64_t right = alive & after, left = alive & ~(after | uint64_t{1} << at);
    keys[at] = right ? key(at, static_cast<size_t>(std::countr_zero(right))) : kNever;
    if (left) {
      const auto before = static_cast<size_t>(63 - std::countl_zero(left));
      keys[before] = key(before, at);
    }
  }
  size_t kept = 0;
  for (; alive; alive &= alive - 1) {
    ids[kept++] = ids[static_cast<size_t>(std::countr_zero(alive))];
  }
  return kept;
}

/// The rank of symbol i with what follows; whether they merge.
bool BpeModel::look(MergeScratch& scratch, uint32_t i) const {
  MergeScratch::Symbol& s = scratch.symbols[i];
  s.rank = s.next < scratch.symbols.size() ? table_.rank(s.id, scratch.symbols[s.next].id)
                                           : MergeTable::kNoRank;
  return s.rank != MergeTable::kNoRank;
}

/// Symbol i takes in what follows; the ranks of i and of the one before are to be looked up anew.
void BpeModel::merge_pair(MergeScratch& scratch, uint32_t i) const {
  auto& symbols = scratch.symbols;
  MergeScratch::Symbol& s = symbols[i];
  MergeScratch::Symbol& gone = symbols[s.next];
  s.id = table_.result(s.rank);
  s.next = gone.next;
  gone.rank = MergeTable::kNoRank;
  if (s.next < symbols.size()) symbols[s.next].previous = i;
}

/// The same with a linked list, whatever the length.
void BpeModel::merge_long(MergeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  const auto count = static_cast<uint32_t>(scratch.ids.size());
  symbols.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i] = {scratch.ids[i], i - 1, i + 1, MergeTable::kNoRank};
  }
  // Going through all ranks pays once there are not many more of them than of symbols.
  constexpr uint32_t kLeast = 4 * kShort;
  if (ranks_rise_ && count >= std::max(kLeast, table_.ranks() / 8)) {
    merge_by_rank(scratch);
  } else {
    merge_by_heap(scratch);
  }
  scratch.ids.clear();
  for (uint32_t i = 0; i < count; i = symbols[i].next) scratch.ids.push_back(symbols[i].id);
}

/// A heap of (rank, position): n log n.
void BpeModel::merge_by_heap(MergeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  heap.clear();
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    if (look(scratch, i)) heap.push_back(uint64_t{symbols[i].rank} << 32 | i);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](uint32_t i) {
    if (!look(scratch, i)) return;
    heap.push_back(uint64_t{symbols[i].rank} << 32 | i);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t top = heap.back();
    heap.pop_back();
    const auto i = static_cast<uint32_t>(top);
    if (symbols[i].rank != top >> 32) continue;  // the pair has changed since, or is gone
    merge_pair(scratch, i);
    push(i);
    if (i > 0) push(symbols[i].previous);
  }
}

/// One rank after the other, in linear time: where a merge's tokens come from merges of lower rank,
/// no merge makes a pair of its own rank or a lower one. Pairs of one rank overlap only in a run of
/// one token, which is merged from its start.
void BpeModel::merge_by_rank(MergeScratch& scratch) const {
  constexpr uint32_t kNone = 0xFFFFFFFF;
  auto& symbols = scratch.symbols;
  auto& entries = scratch.entries;
  auto& first = scratch.first_entry;
  entries.clear();
  first.assign(table_.ranks(), kNone);
  const auto enter = [&](uint32_t i) {
    if (!look(scratch, i)) return;
    entries.push_back({i, first[symbols[i].rank]});
    first[symbols[i].rank] = static_cast<uint32_t>(entries.size() - 1);
  };
  for (uint32_t i = 0; i < symbols.size(); ++i) enter(i);
  for (uint32_t rank = 0; rank < first.size(); ++rank) {
    for (uint32_t e = first[rank]; e != kNone; e = entries[e].next) {
      uint32_t i = entries[e].symbol;
      if (symbols[i].rank != rank) continue;  // the pair has changed since, or is gone
      while (i > 0 && symbols[symbols[i].previous].rank == rank &&
             symbols[symbols[i].previous].id == symbols[i].id) {
        i = symbols[i].previous;
      }
      for (; i < symbols.size() && symbols[i].rank == rank; i = symbols[i].next) {
        merge_pair(scratch, i);
        enter(i);
        if (i > 0) enter(symbols[i].previous);
      }
    }
  }
}

}  // namespace quern::features
