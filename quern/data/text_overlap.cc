#include "quern/data/text_overlap.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "quern/base/hash.h"

namespace quern::data {
namespace {

constexpr size_t kBands = 14, kRows = 8, kRun = 5;

uint64_t mixed(uint64_t value, uint64_t seed) {
  // splitmix64's finaliser (Steele et al. 2014).
  value += 0x9E3779B97F4A7C15ULL * (seed + 1);
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

using Signature = std::array<uint64_t, kBands>;

Signature bands_of(const std::vector<uint64_t>& shingles) {
  Signature bands{};
  for (size_t band = 0; band < kBands; ++band) {
    std::array<uint64_t, kRows> least{};
    for (size_t row = 0; row < kRows; ++row) {
      uint64_t most_small = std::numeric_limits<uint64_t>::max();
      for (const uint64_t shingle : shingles)
        most_small = std::min(most_small, mixed(shingle, band * kRows + row));
      least[row] = most_small;
    }
    bands[band] = hash64({reinterpret_cast<const char*>(least.data()), sizeof(least)});
  }
  return bands;
}

/// Calls take(bucket) with the texts, in rising order, that agree in a band; texts without shingles
/// are in none.
template <typename Text, typename Take>
void for_buckets(size_t count, Text text, Take take) {
  std::vector<Signature> bands(count);
  std::vector<size_t> order;
  for (size_t i = 0; i < count; ++i) {
    if (text(i).empty()) continue;
    bands[i] = bands_of(text(i));
    order.push_back(i);
  }
  for (size_t band = 0; band < kBands; ++band) {
    const auto key = [&](size_t i) { return bands[i][band]; };
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return key(a) != key(b) ? key(a) < key(b) : a < b; });
    for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
      while (end < order.size() && key(order[end]) == key(order[begin])) ++end;
      take(std::span<const size_t>(order).subspan(begin, end - begin));
    }
  }
}

void keep_better(NearRepeat& best, const NearRepeat& repeat, double least) {
  if (repeat.similarity >= least && repeat.similarity > best.similarity) best = repeat;
}

std::vector<NearRepeat> found(std::vector<NearRepeat> best) {
  std::erase_if(best, [](const NearRepeat& repeat) { return repeat.similarity == 0; });
  return best;
}

}  // namespace

std::string normalised(std::string_view text) {
  std::string out;
  bool blank = true;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x80) {
      out += c;
    } else if (byte >= '0' && byte <= '9') {
      out += '0';
    } else if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z')) {
      out += static_cast<char>(byte | 0x20);
    } else {
      if (!blank) out += ' ';
      blank = true;
      continue;
    }
    blank = false;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::vector<uint64_t> shingles(std::string_view text) {
  const std::string plain = normalised(text);
  std::vector<std::string_view> words;
  size_t begin = 0;
  const auto close = [&](size_t end) {
    if (end > begin) words.push_back(std::string_view(plain).substr(begin, end - begin));
  };
  for (size_t at = 0; at < plain.size();) {
    const auto byte = static_cast<uint8_t>(plain[at]);
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    if (plain[at] == ' ' || byte >= 0xE3) {
      close(at);
      const size_t end = std::min(plain.size(), at + length);
      if (plain[at] != ' ') words.push_back(std::string_view(plain).substr(at, end - at));
      begin = end;
    }
    at += length;
  }
  close(plain.size());
  std::vector<uint64_t> out;
  const size_t runs = words.empty() ? 0 : words.size() < kRun ? 1 : words.size() - kRun + 1;
  for (size_t run = 0; run < runs; ++run) {
    std::string joined;
    for (size_t i = run; i < std::min(words.size(), run + kRun); ++i) {
      joined += words[i];
      joined += '\x1f';
    }
    out.push_back(hash64(joined));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

double jaccard(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) {
      ++common;
      ++i;
      ++j;
    } else {
      (a[i] < b[j] ? i : j) += 1;
    }
  }
  const size_t all = a.size() + b.size() - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

std::vector<NearRepeat> near_repeats(const std::vector<std::vector<uint64_t>>& of, double least) {
  const auto text = [&](size_t i) -> const std::vector<uint64_t>& { return of[i]; };
  std::vector<NearRepeat> best(of.size());
  for_buckets(of.size(), text, [&](std::span<const size_t> bucket) {
    // Against the bucket's first and the neighbour: time stays linear in the bucket.
    for (size_t i = 1; i < bucket.size(); ++i) {
      for (const size_t other : {bucket[0], bucket[i - 1]})
        keep_better(best[bucket[i]], {bucket[i], other, jaccard(of[bucket[i]], of[other])}, least);
    }
  });
  return found(std::move(best));
}

NearAcross near_across(const std::vector<std::vector<uint64_t>>& first,
                       const std::vector<std::vector<uint64_t>>& second, double least) {
  const auto text = [&](size_t i) -> const std::vector<uint64_t>& {
    return i < first.size() ? first[i] : second[i - first.size()];
  };
  std::vector<NearRepeat> of_first(first.size()), of_second(second.size());
  const auto compare = [&](size_t a, size_t b) {
    const double similarity = jaccard(first[a], second[b]);
    keep_better(of_first[a], {a, b, similarity}, least);
    keep_better(of_second[b], {b, a, similarity}, least);
  };
  for_buckets(first.size() + second.size(), text, [&](std::span<const size_t> bucket) {
    const auto border = static_cast<size_t>(
        std::lower_bound(bucket.begin(), bucket.end(), first.size()) - bucket.begin());
    if (border == 0 || border == bucket.size()) return;
    // Each against the ends of the other list's part: time stays linear in the bucket.
    for (const size_t a : bucket.first(border))
      for (const size_t b : {bucket[border], bucket.back()}) compare(a, b - first.size());
    for (const size_t b : bucket.subspan(border))
      for (const size_t a : {bucket[0], bucket[border - 1]}) compare(a, b - first.size());
  });
  return {found(std::move(of_first)), found(std::move(of_second))};
}

}  // namespace quern::data
