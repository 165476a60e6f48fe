#include "quern/task/text_windows.h"

#include <algorithm>
#include <bit>

#include "quern/base/random.h"
#include "quern/features/ngram_ids.h"

namespace quern::task {

uint64_t permute(uint64_t index, uint64_t count, uint64_t seed, uint32_t round) {
  if (count <= 1) return 0;
  const auto half = static_cast<unsigned>((std::bit_width(count - 1) + 1) / 2);
  const uint64_t mask = (uint64_t{1} << half) - 1;
  const PhiloxKey key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  do {
    uint64_t left = index >> half;
    uint64_t right = index & mask;
    for (uint32_t i = 0; i < 4; ++i) {
      const PhiloxCounter mixed =
          philox({static_cast<uint32_t>(right), static_cast<uint32_t>(right >> 32), round,
                  static_cast<uint32_t>(Stream::kBatch) << 8 | i},
                 key);
      const uint64_t next = (left ^ mixed[0]) & mask;
      left = right;
      right = next;
    }
    index = left << half | right;
  } while (index >= count);
  return index;
}

TrainingWindows::TrainingWindows(TokenStream stream, int64_t length, uint64_t seed)
    : stream_(std::move(stream)), length_(length), seed_(seed) {
  const uint64_t whole = (stream_.tokens - 1) / static_cast<uint64_t>(length);
  // One window fewer than would fit leaves room for the phase.
  windows_ = std::max<uint64_t>(1, whole > 1 ? whole - 1 : whole);
}

int64_t TrainingWindows::targets_per_window() const {
  return std::min(length_, static_cast<int64_t>(stream_.tokens) - 1);
}

uint64_t TrainingWindows::offset_of(uint64_t sample) const {
  const uint64_t epoch = sample / windows_;
  const auto targets = static_cast<uint64_t>(targets_per_window());
  const uint64_t slack = stream_.tokens - 1 - windows_ * targets;
  const uint64_t phase = Random(seed_, Stream::kBatch, epoch).below(slack + 1);
  return phase +
         targets * permute(sample % windows_, windows_, seed_, static_cast<uint32_t>(epoch));
}

void TrainingWindows::fill(uint64_t first, const WindowBatch& batch, const TokenNoise& noise) {
  const int64_t rows = batch.ids.shape()[0];
  const int64_t targets = targets_per_window();
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t sample = first + static_cast<uint64_t>(row);
    fill_row(stream_, offset_of(sample), targets, row, batch, buffer_);
    if (noise.rate > 0) {
      Random random(seed_, Stream::kTokenDropout, sample);
      int32_t* ids = batch.ids.i32() + row * length_;
      for (int64_t i = 0; i < targets; ++i) {
        const double draw = random.uniform();
        const uint64_t token = random.below(static_cast<uint64_t>(noise.vocabulary));
        if (draw < noise.rate) ids[i] = static_cast<int32_t>(token);
      }
    }
    fill_ngrams(row, targets, batch, buffer_);
  }
}

EvaluationWindows::EvaluationWindows(TokenStream stream, int64_t length)
    : stream_(std::move(stream)), length_(length) {}

uint64_t EvaluationWindows::windows() const {
  const auto length = static_cast<uint64_t>(length_);
  return (targets() + length - 1) / length;
}

int64_t EvaluationWindows::fill(uint64_t first, uint64_t stride, const WindowBatch& batch) {
  int64_t counted = 0;
  for (int64_t row = 0; row < batch.ids.shape()[0]; ++row) {
    const uint64_t window = first + static_cast<uint64_t>(row) * stride;
    const uint64_t begin = window * static_cast<uint64_t>(length_);
    const uint64_t left = begin < targets() ? targets() - begin : 0;
    const int64_t count = std::min(length_, static_cast<int64_t>(left));
    fill_row(stream_, begin, count, row, batch, buffer_);
    fill_ngrams(row, count, batch, buffer_);
    counted += count;
  }
  return counted;
}

void fill_row(const TokenStream& stream, uint64_t begin, int64_t targets, int64_t row,
              const WindowBatch& batch, std::vector<uint32_t>& buffer) {
  const int64_t length = batch.ids.shape()[1];
  int32_t* ids = batch.ids.i32() + row * length;
  int32_t* next = batch.targets.i32() + row * length;
  std::fill_n(ids, length, 0);
  std::fill_n(next, length, -1);
  if (targets <= 0) return;
  buffer.resize(static_cast<size_t>(targets) + 1);
  stream.read(begin, buffer);
  for (int64_t i = 0; i < targets; ++i) {
    ids[i] = static_cast<int32_t>(buffer[static_cast<size_t>(i)]);
    next[i] = static_cast<int32_t>(buffer[static_cast<size_t>(i) + 1]);
  }
}

void fill_ngrams(int64_t row, int64_t tokens, const WindowBatch& batch,
                 std::vector<uint32_t>& buffer) {
  if (!batch.ngram_ids) return;
  const int64_t length = batch.ids.shape()[1];
  const auto orders = static_cast<size_t>(batch.ngram_ids.shape()[2]);
  const int32_t* ids = batch.ids.i32() + row * length;
  buffer.assign(ids, ids + tokens);
  std::span<int32_t> out(batch.ngram_ids.i32() + row * length * batch.ngram_ids.shape()[2],
                         static_cast<size_t>(length) * orders);
  std::fill(out.begin(), out.end(), -1);
  for (size_t i = 0; i < static_cast<size_t>(tokens); ++i) {
    features::ngram_ids(buffer, i, batch.ngram_buckets, out.subspan(i * orders, orders));
  }
}

}  // namespace quern::task
