#include "quern/features/tokenizer_learner.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>
#include <unordered_map>

#include "quern/features/tokenizer_alphabet.h"
#include "quern/features/tokenizer_shape.h"

namespace quern::features {
namespace {

constexpr uint32_t kNone = 0xFFFFFFFF;

/// Keeps counts of pairs and where they are while merges change the words.
class Learner {
 public:
  Learner(std::span<const WordCounter::Word> words, bool whole_characters)
      : whole_characters_(whole_characters) {
    std::array<uint32_t, 256> id_of_byte{};
    for (const uint8_t byte : ByteAlphabet::get().order()) {
      id_of_byte[byte] = static_cast<uint32_t>(out_.tokens.size());
      add_token(std::string(1, static_cast<char>(byte)));
    }
    size_t bytes = 0;
    for (const auto& word : words) bytes += word.text.size();
    symbols_.reserve(bytes);
    words_.reserve(words.size());
    for (const auto& word : words) {
      if (word.text.size() < 2) continue;
      words_.push_back({symbols_.size(), static_cast<uint32_t>(word.text.size()),
                        static_cast<int64_t>(word.count)});
      for (const char c : word.text) symbols_.push_back(id_of_byte[static_cast<uint8_t>(c)]);
    }
    slots_.assign(size_t{1} << 16, kNone);
    count_pairs();
  }

  LearnedMerges learn(size_t tokens, uint64_t min_count) {
    for (uint32_t p = 0; p < pairs_.size(); ++p) push(p);
    while (out_.tokens.size() < tokens && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const Pair& pair = pairs_[top.pair];
      if (pair.count != top.count) {
        push(top.pair);  // lazily: counts mostly fall
        continue;
      }
      if (top.count < static_cast<int64_t>(std::max<uint64_t>(min_count, 1))) break;
      merge(top.pair);
    }
    return std::move(out_);
  }

 private:
  struct Word {
    size_t start;
    uint32_t length;
    int64_t count;
  };
  struct Pair {
    uint32_t left, right;
    int64_t count = 0;
    uint32_t chunk = kNone;  ///< the first of its places
    uint32_t last_word = kNone;
  };
  /// Words that hold a pair: places_[begin, end), then the chunk `next`.
  struct Chunk {
    size_t begin, end;
    uint32_t next;
  };
  struct Candidate {
    int64_t count;
    uint64_t key;
    uint32_t pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  static uint64_t key(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

  uint32_t add_token(std::string token) {
    const auto [it, fresh] =
        ids_.emplace(std::move(token), static_cast<uint32_t>(out_.tokens.size()));
    if (fresh) {
      out_.tokens.push_back(it->first);
      shapes_.push_back(shape_of(it->first));
    }
    return it->second;
  }

  uint32_t pair_index(uint32_t left, uint32_t right) {
    if (slots_.size() < pairs_.size() * 2 + 16) rehash();
    const size_t mask = slots_.size() - 1;
    size_t slot = place(left, right);
    for (; slots_[slot] != kNone; slot = (slot + 1) & mask) {
      const Pair& pair = pairs_[slots_[slot]];
      if (pair.left == left && pair.right == right) return slots_[slot];
    }
    slots_[slot] = static_cast<uint32_t>(pairs_.size());
    pairs_.push_back({left, right});
    return slots_[slot];
  }

  size_t place(uint32_t left, uint32_t right) const {
    const uint64_t mixed = key(left, right) * 0x9E3779B97F4A7C15;
    return mixed >> (64 - std::countr_zero(slots_.size()));
  }

  void rehash() {
    slots_.assign(slots_.size() * 2, kNone);
    for (uint32_t p = 0; p < pairs_.size(); ++p) {
      size_t slot = place(pairs_[p].left, pairs_[p].right);
      while (slots_[slot] != kNone) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = p;
    }
  }

  /// Counts every pair of every word, then lists the words of each pair.
  void count_pairs() {
    std::vector<size_t> places;  // by pair
    const auto each = [&](auto visit) {
      for (uint32_t w = 0; w < words_.size(); ++w) {
        const uint32_t* s = symbols_.data() + words_[w].start;
        for (uint32_t i = 0; i + 1 < words_[w].length; ++i) visit(pair_index(s[i], s[i + 1]), w);
      }
    };
    each([&](uint32_t p, uint32_t w) {
      places.resize(pairs_.size());
      pairs_[p].count += words_[w].count;
      if (pairs_[p].last_word != w) ++places[p];
      pairs_[p].last_word = w;
    });
    size_t total = 0;
    for (uint32_t p = 0; p < pairs_.size(); ++p) {
      pairs_[p].chunk = static_cast<uint32_t>(chunks_.size());
      pairs_[p].last_word = kNone;
      chunks_.push_back({total, total, kNone});
      total += places[p];
    }
    places_.resize(total);
    each([&](uint32_t p, uint32_t w) {
      if (pairs_[p].last_word == w) return;
      pairs_[p].last_word = w;
      places_[chunks_[pairs_[p].chunk].end++] = w;
    });
    for (Pair& pair : pairs_) pair.last_word = kNone;
  }

  bool allowed(const Pair& pair) const {
    const TokenShape &left = shapes_[pair.left], &right = shapes_[pair.right];
    return !whole_characters_ || merges_whole_characters(left, right) ||
           merges_within_character(left, right);
  }

  void push(uint32_t p) {
    const Pair& pair = pairs_[p];
    if (pair.count > 0 && allowed(pair)) {
      queue_.push({pair.count, key(pair.left, pair.right), p});
    }
  }

  void merge(uint32_t p) {
    const uint32_t left = pairs_[p].left, right = pairs_[p].right;
    const uint32_t result = add_token(out_.tokens[left] + out_.tokens[right]);
    out_.merges.push_back({left, right, result});
    grown_.clear();
    uint32_t chunk = pairs_[p].chunk;
    pairs_[p].chunk = kNone;
    for (; chunk != kNone; chunk = chunks_[chunk].next) {
      for (size_t i = chunks_[chunk].begin; i < chunks_[chunk].end; ++i) {
        merge_in_word(places_[i], left, right, result);
      }
    }
    pairs_[p].count = 0;
    // Group the new places by pair, each group one chunk, and offer the pairs.
    std::stable_sort(grown_.begin(), grown_.end(),
                     [](const Grown& a, const Grown& b) { return a.pair < b.pair; });
    for (size_t i = 0; i < grown_.size();) {
      const uint32_t pair = grown_[i].pair;
      const size_t begin = places_.size();
      for (; i < grown_.size() && grown_[i].pair == pair; ++i) places_.push_back(grown_[i].word);
      chunks_.push_back({begin, places_.size(), pairs_[pair].chunk});
      pairs_[pair].chunk = static_cast<uint32_t>(chunks_.size() - 1);
      pairs_[pair].last_word = kNone;
      push(pair);
    }
  }

  void merge_in_word(uint32_t w, uint32_t left, uint32_t right, uint32_t result) {
    Word& word = words_[w];
    uint32_t* s = symbols_.data() + word.start;
    uint32_t out = 0;
    for (uint32_t i = 0; i < word.length;) {
      if (s[i] != left || i + 1 >= word.length || s[i + 1] != right) {
        s[out++] = s[i++];
        continue;
      }
      if (out > 0) {
        pairs_[pair_index(s[out - 1], left)].count -= word.count;
        grow(s[out - 1], result, w);
      }
      if (i + 2 < word.length) {
        pairs_[pair_index(right, s[i + 2])].count -= word.count;
        grow(result, s[i + 2], w);
      }
      s[out++] = result;
      i += 2;
    }
    word.length = out;
  }

  void grow(uint32_t left, uint32_t right, uint32_t w) {
    const uint32_t p = pair_index(left, right);
    Pair& pair = pairs_[p];
    pair.count += words_[w].count;
    if (pair.last_word == w) return;
    pair.last_word = w;
    grown_.push_back({p, w});
  }

  struct Grown {
    uint32_t pair, word;
  };

  bool whole_characters_;
  LearnedMerges out_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<TokenShape> shapes_;
  std::vector<Word> words_;
  std::vector<uint32_t> symbols_;
  std::vector<Pair> pairs_;
  std::vector<uint32_t> slots_;  // pairs_ by open addressing
  std::vector<uint32_t> places_;
  std::vector<Chunk> chunks_;
  std::vector<Grown> grown_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

LearnedMerges learn_merges(std::span<const WordCounter::Word> words, size_t tokens,
                           uint64_t min_count, bool whole_characters) {
  return Learner(words, whole_characters).learn(tokens, min_count);
}

}  // namespace quern::features
