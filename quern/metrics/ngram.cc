#include "quern/metrics/ngram.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>

#include "quern/base/error.h"
#include "quern/base/text_encoding.h"

namespace quern::metrics {
namespace {

constexpr int kMaxOrder = 8;
constexpr size_t kMinSlots = size_t{1} << 12;

uint64_t mix(uint64_t hash, Symbol symbol) {
  // splitmix64 (Steele, Lea & Flood 2014) of the running hash and the next symbol.
  uint64_t z = hash + (uint64_t{symbol} + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Strings by 64-bit hash, open addressing. Two strings of a few million share a hash with
// probability below 1e-5; then their counts are added.
template <typename Value>
class Table {
 public:
  Table() : slots_(kMinSlots) {}

  Value& at(uint64_t key) {
    if ((used_ + 1) * 4 > slots_.size() * 3) grow();
    Slot& slot = slots_[find(key)];
    if (slot.key == 0) {
      slot.key = real(key);
      ++used_;
    }
    return slot.value;
  }
  const Value* get(uint64_t key) const {
    const Slot& slot = slots_[find(key)];
    return slot.key == 0 ? nullptr : &slot.value;
  }
  void prefetch(uint64_t key) const {
    __builtin_prefetch(&slots_[static_cast<size_t>(real(key)) & (slots_.size() - 1)]);
  }
  uint64_t bytes() const { return slots_.size() * sizeof(Slot); }
  /// While it grows, the old slots and the new ones are there together.
  uint64_t bytes_to_grow() const { return 2 * bytes(); }
  /// Whether one more symbol, with its strings of every order, may make it grow.
  bool grows_next() const { return (used_ + kMaxOrder + 1) * 4 > slots_.size() * 3; }

 private:
  struct Slot {
    uint64_t key = 0;  // 0: free
    Value value{};
  };
  static uint64_t real(uint64_t key) { return key == 0 ? 1 : key; }
  size_t find(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = static_cast<size_t>(real(key)) & mask;
    while (slots_[slot].key != 0 && slots_[slot].key != real(key)) slot = (slot + 1) & mask;
    return slot;
  }
  void grow() {
    std::vector<Slot> slots(slots_.size() * 2);
    slots.swap(slots_);
    for (const Slot& slot : slots) {
      if (slot.key != 0) slots_[find(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

struct Context {
  uint32_t total = 0;
  uint32_t distinct = 0;
};

void add_one(uint32_t& count) {
  if (count < std::numeric_limits<uint32_t>::max()) ++count;
}

}  // namespace

struct NgramModel::Impl {
  NgramOptions options;
  Table<uint32_t> grams;    // of 1 to order symbols
  Table<Context> contexts;  // of 0 to order - 1 symbols
  size_t known = 0;
  uint64_t learned = 0;
  bool full = false;
  std::vector<Symbol> history;  // the oldest symbol first

  static uint64_t seed() { return 0x51ED270B; }
  size_t longest_history() const { return static_cast<size_t>(options.order) - 1; }

  bool has_room() const {
    if (learned >= options.max_characters) return false;
    uint64_t wanted = grams.bytes() + contexts.bytes();
    if (grams.grows_next()) wanted += grams.bytes_to_grow();
    if (contexts.grows_next()) wanted += contexts.bytes_to_grow();
    return wanted <= options.memory;
  }

  // The hashes of a symbol behind the histories of 0, 1, … symbols, and of these histories. Hashing
  // from the newest symbol to the oldest, one walk meets all orders; all slots are asked for before
  // the first is read, for most are far apart in memory.
  struct Walk {
    std::array<uint64_t, kMaxOrder> grams, contexts;
    size_t orders = 0;
  };
  Walk walk(std::span<const Symbol> past, Symbol symbol) const {
    Walk walk;
    uint64_t gram = mix(seed(), symbol);
    uint64_t context = seed();
    walk.orders = std::min(past.size(), longest_history()) + 1;
    for (size_t i = 0; i < walk.orders; ++i) {
      if (i > 0) {
        const Symbol older = past[past.size() - i];
        gram = mix(gram, older);
        context = mix(context, older);
      }
      grams.prefetch(walk.grams[i] = gram);
      contexts.prefetch(walk.contexts[i] = context);
    }
    return walk;
  }

  void push(Symbol symbol) {
    const Walk path = walk(history, symbol);
    for (size_t i = 0; i < path.orders; ++i) {
      uint32_t& count = grams.at(path.grams[i]);
      Context& seen = contexts.at(path.contexts[i]);
      if (count == 0) {
        ++seen.distinct;
        if (i == 0) ++known;
      }
      add_one(count);
      add_one(seen.total);
    }
    remember(history, symbol, longest_history());
  }

  static void remember(std::vector<Symbol>& history, Symbol symbol, size_t longest) {
    if (longest == 0) return;
    if (history.size() == longest) history.erase(history.begin());
    history.push_back(symbol);
  }

  double probability(std::span<const Symbol> past, Symbol symbol, bool escape) const {
    const Walk path = walk(past, symbol);
    double p = 1.0 / static_cast<double>(known + 1);
    for (size_t i = 0; i < path.orders; ++i) {
      const Context* seen = contexts.get(path.contexts[i]);
      // Where a history was never seen, no longer one was.
      if (seen == nullptr || seen->total == 0) break;
      const uint32_t* count = escape ? nullptr : grams.get(path.grams[i]);
      const double total = seen->total;
      const double own = count != nullptr ? std::max(*count - options.discount, 0.0) / total : 0.0;
      p = own + options.discount * seen->distinct / total * p;
    }
    return p;
  }
};

NgramModel::NgramModel(const NgramOptions& options) : impl_(std::make_unique<Impl>()) {
  if (options.order < 1 || options.order > kMaxOrder ||
      !(options.discount > 0 && options.discount < 1)) {
    throw UsageError("bad_value",
                     fmt::format("an n-gram of order {} with discount {} cannot be", options.order,
                                 options.discount),
                     fmt::format("order 1 to {}, discount within (0, 1)", kMaxOrder));
  }
  impl_->options = options;
}
NgramModel::~NgramModel() = default;
NgramModel::NgramModel(NgramModel&&) noexcept = default;

void NgramModel::begin(bool true_beginning) {
  impl_->history.clear();
  if (true_beginning && impl_->longest_history() > 0) impl_->history.push_back(kDocumentEnd);
}

bool NgramModel::learn(std::string_view utf8) {
  while (!utf8.empty() && !impl_->full) {
    const CodePoint point = decode_utf8(utf8);
    if (point.value == CodePoint::kInvalid) {
      throw FormatError("the text of an n-gram model is not UTF-8");
    }
    if (!impl_->has_room()) {
      impl_->full = true;
      break;
    }
    impl_->push(point.value);
    ++impl_->learned;
    utf8.remove_prefix(point.length);
  }
  return !impl_->full;
}

bool NgramModel::end() {
  impl_->full = impl_->full || !impl_->has_room();
  if (!impl_->full) impl_->push(kDocumentEnd);
  impl_->history.clear();
  return !impl_->full;
}

double NgramModel::probability(std::span<const Symbol> history, Symbol symbol) const {
  return impl_->probability(history, symbol, !knows(symbol));
}
double NgramModel::escape_probability(std::span<const Symbol> history) const {
  return impl_->probability(history, 0, true);
}
bool NgramModel::knows(Symbol symbol) const {
  return impl_->grams.get(mix(Impl::seed(), symbol)) != nullptr;
}
size_t NgramModel::known_symbols() const { return impl_->known; }
uint64_t NgramModel::learned_characters() const { return impl_->learned; }
uint64_t NgramModel::bytes() const { return impl_->grams.bytes() + impl_->contexts.bytes(); }
bool NgramModel::full() const { return impl_->full; }
int NgramModel::order() const { return impl_->options.order; }

double NgramScore::bits_per_byte() const {
  return bytes == 0 ? 0 : nats / std::log(2.0) / static_cast<double>(bytes);
}
double NgramScore::nats_per_prediction() const {
  return predictions == 0 ? 0 : nats / static_cast<double>(predictions);
}

void NgramScorer::begin(bool true_beginning) {
  history_.clear();
  if (true_beginning) history_.push_back(kDocumentEnd);
}

void NgramScorer::push(Symbol symbol, uint32_t bytes) {
  double nats = -std::log(model_.probability(history_, symbol));
  if (!model_.knows(symbol)) {
    nats += bytes * std::log(256.0);
    score_.unknown += bytes > 0 ? 1 : 0;
  }
  score_.nats += nats;
  ++score_.predictions;
  score_.bytes += bytes;
  if (history_.size() >= kMaxOrder) history_.erase(history_.begin());
  history_.push_back(symbol);
}

void NgramScorer::score(std::string_view utf8) {
  while (!utf8.empty()) {
    const CodePoint point = decode_utf8(utf8);
    if (point.value == CodePoint::kInvalid) {
      throw FormatError("the text of an n-gram model is not UTF-8");
    }
    push(point.value, point.length);
    ++score_.characters;
    utf8.remove_prefix(point.length);
  }
}

void NgramScorer::end() { push(kDocumentEnd, 0); }

NgramBaseline ngram_baseline(const data::TextCorpus& corpus, data::Part scored,
                             const NgramOptions& options, Reporter& reporter) {
  const auto start = std::chrono::steady_clock::now();
  NgramModel model(options);
  corpus.for_each(data::Part::kTrain, [&](const data::TextPiece& piece) {
    if (model.full()) return;
    if (piece.first) model.begin(piece.begins);
    if (model.learn(piece.text) && piece.last && piece.ends) model.end();
  });
  NgramScorer scorer(model);
  bool scored_all = true;
  corpus.for_each(scored, [&](const data::TextPiece& piece) {
    if (scorer.result().characters >= options.max_scored_characters) {
      scored_all = false;
      return;
    }
    if (piece.first) scorer.begin(piece.begins);
    scorer.score(piece.text);
    if (piece.last && piece.ends) scorer.end();
  });
  NgramBaseline baseline;
  baseline.score = scorer.result();
  baseline.learned_characters = model.learned_characters();
  baseline.complete = !model.full() && scored_all;
  baseline.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  baseline.statement =
      fmt::format("interpolated absolute-discount {}-gram of characters", options.order);
  const auto part = [](uint64_t some, uint64_t all) {
    return fmt::format("the first {} of {} characters", format_count(static_cast<double>(some)),
                       format_count(static_cast<double>(all)));
  };
  if (model.full()) {
    baseline.statement += ", learned from " + part(model.learned_characters(),
                                                   corpus.counts()[data::Part::kTrain].characters);
  }
  if (!scored_all) {
    baseline.statement +=
        ", scored on " + part(scorer.result().characters, corpus.counts()[scored].characters);
  }
  reporter.note(fmt::format("baseline: {}: {:.3f} bits per byte ({})", baseline.statement,
                            baseline.score.bits_per_byte(), format_duration(baseline.seconds)));
  return baseline;
}

}  // namespace quern::metrics
