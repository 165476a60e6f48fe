#include "quern/features/tokenizer_words.h"

#include <algorithm>

#include "quern/base/hash.h"

namespace quern::features {

void WordCounter::add(std::string_view word, uint64_t count) {
  const uint64_t hash = hash64(word);
  if (slots_.size() < entries_.size() * 2 + 16) {
    rehash(std::max<size_t>(size_t{1} << 12, slots_.size() * 2));
  }
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  for (; slots_[slot]; slot = (slot + 1) & mask) {
    Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash == hash && text(entry) == word) {
      entry.count += count;
      return;
    }
  }
  entries_.push_back({hash, bytes_.size(), count, static_cast<uint32_t>(word.size())});
  bytes_ += word;
  slots_[slot] = static_cast<uint32_t>(entries_.size());
  if (bytes_.size() + entries_.size() * (sizeof(Entry) + 8) > memory_) prune();
}

void WordCounter::rehash(size_t slots) {
  slots_.assign(slots, 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & (slots - 1);
    while (slots_[slot]) slot = (slot + 1) & (slots - 1);
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

void WordCounter::prune() {
  std::vector<uint64_t> counts;
  counts.reserve(entries_.size());
  for (const Entry& entry : entries_) counts.push_back(entry.count);
  const auto middle = counts.begin() + static_cast<ptrdiff_t>(counts.size() / 2);
  std::nth_element(counts.begin(), middle, counts.end());
  const uint64_t threshold = *middle;
  std::string kept_bytes;
  std::vector<Entry> kept;
  for (const Entry& entry : entries_) {
    if (entry.count <= threshold) continue;
    kept.push_back(entry);
    kept.back().offset = kept_bytes.size();
    kept_bytes += text(entry);
  }
  entries_ = std::move(kept);
  bytes_ = std::move(kept_bytes);
  rehash(slots_.size());
}

std::vector<WordCounter::Word> WordCounter::words() const {
  std::vector<Word> words;
  words.reserve(entries_.size());
  for (const Entry& entry : entries_) words.push_back({text(entry), entry.count});
  return words;
}

}  // namespace quern::features
