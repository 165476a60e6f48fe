#include "quern/train/gather.h"

#include <algorithm>

namespace quern::train {
namespace {

constexpr size_t kMessage = size_t{1} << 24;  // floats

/// Where each rank's piece of each tensor begins, and how long it is: (tensors, ranks, 2).
std::vector<double> piece_table(Ranks& ranks, std::span<const NamedTensor> pieces) {
  const auto count = static_cast<size_t>(ranks.size());
  std::vector<double> table(pieces.size() * count * 2);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t at = (i * count + static_cast<size_t>(ranks.rank())) * 2;
    table[at] = static_cast<double>(pieces[i].begin);
    table[at + 1] = static_cast<double>(pieces[i].values.size());
  }
  ranks.sum(table);
  return table;
}

void receive(Ranks& ranks, std::span<float> values, int from) {
  for (size_t at = 0; at < values.size(); at += kMessage) {
    const auto part = values.subspan(at, std::min(kMessage, values.size() - at));
    ranks.wait(ranks.transport().receive(std::as_writable_bytes(part), from));
  }
}

void send(Ranks& ranks, std::span<const float> values) {
  for (size_t at = 0; at < values.size(); at += kMessage) {
    const auto part = values.subspan(at, std::min(kMessage, values.size() - at));
    ranks.wait(ranks.transport().send(std::as_bytes(part), 0));
  }
}

}  // namespace

GatheredTensors gather(Ranks& ranks, std::span<const NamedTensor> pieces) {
  GatheredTensors gathered;
  if (ranks.size() == 1) {
    gathered.tensors.assign(pieces.begin(), pieces.end());
    return gathered;
  }
  const auto count = static_cast<size_t>(ranks.size());
  const std::vector<double> table = piece_table(ranks, pieces);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const NamedTensor& piece = pieces[i];
    const auto size_of = [&](size_t rank) {
      return static_cast<size_t>(table[(i * count + rank) * 2 + 1]);
    };
    const auto elements = static_cast<size_t>(piece.shape.elements());
    bool whole = true;
    for (size_t rank = 0; rank < count; ++rank) whole = whole && size_of(rank) == elements;
    if (whole || !ranks.root()) {
      if (!whole) send(ranks, piece.values);
      if (ranks.root()) gathered.tensors.push_back(piece);
      continue;
    }
    gathered.memory.emplace_back(elements);
    const std::span<float> all = gathered.memory.back();
    std::copy(piece.values.begin(), piece.values.end(), all.subspan(piece.begin).begin());
    for (size_t rank = 1; rank < count; ++rank) {
      const auto begin = static_cast<size_t>(table[(i * count + rank) * 2]);
      receive(ranks, all.subspan(begin, size_of(rank)), static_cast<int>(rank));
    }
    gathered.tensors.push_back({piece.name, piece.shape, all});
  }
  return gathered;
}

}  // namespace quern::train
