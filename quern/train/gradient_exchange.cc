#include "quern/train/gradient_exchange.h"

#include <algorithm>

namespace quern::train {
namespace {

constexpr size_t kAhead = 8;  // chunks in flight to one owner
constexpr size_t kChunk = Shards::kUnit;
constexpr size_t kShared = size_t{1} << 24;  // floats of one broadcast

}  // namespace

void tree_add(std::span<float* const> parts, size_t count) {
  for (size_t stride = 1; stride < parts.size(); stride *= 2) {
    for (size_t i = 0; i + stride < parts.size(); i += 2 * stride) {
      float* to = parts[i];
      const float* from = parts[i + stride];
      for (size_t k = 0; k < count; ++k) to[k] += from[k];
    }
  }
}

std::vector<ExchangeChunk> plan_exchange(const Shards& shards, std::span<const int32_t> whole_after,
                                         size_t most) {
  std::vector<ExchangeChunk> chunks;
  for (int owner = 0; owner < shards.ranks(); ++owner) {
    for (const auto& [range, parameter] : shards.units()) {
      const Shards::Range piece = common(range, shards.owned(owner));
      if (piece.begin == piece.end) continue;
      const int32_t step = whole_after[static_cast<size_t>(parameter)];
      if (!chunks.empty() && chunks.back().owner == owner &&
          piece.end - chunks.back().range.begin <= most) {
        chunks.back().range.end = piece.end;
        chunks.back().whole_after = std::max(chunks.back().whole_after, step);
      } else {
        chunks.push_back({piece, owner, step});
      }
    }
  }
  std::stable_sort(chunks.begin(), chunks.end(),
                   [](const auto& a, const auto& b) { return a.whole_after < b.whole_after; });
  return chunks;
}

HostExchange::HostExchange(Ranks& ranks, const Shards& shards, std::span<float> gradients,
                           std::span<const int32_t> whole_after)
    : ranks_(ranks),
      shards_(shards),
      gradients_(gradients),
      chunks_(plan_exchange(shards, whole_after, kChunk)),
      incoming_(planned_bytes(ranks.size())) {
  for (size_t i = 0; i < chunks_.size(); ++i) {
    if (chunks_[i].owner == ranks_.rank()) mine_.push_back(i);
  }
}

size_t HostExchange::planned_bytes(int ranks) {
  return ranks > 1 ? kAhead * static_cast<size_t>(ranks) * kChunk * sizeof(float) : 0;
}

std::span<float> HostExchange::slot(size_t mine, int rank) {
  const auto ranks = static_cast<size_t>(ranks_.size());
  const size_t place = (mine % kAhead * ranks + static_cast<size_t>(rank)) * kChunk;
  return {reinterpret_cast<float*>(incoming_.data()) + place, chunks_[mine_[mine]].count()};
}

void HostExchange::begin() {
  step_ = -1;
  next_send_ = next_receive_ = next_add_ = 0;
  receive_ahead();
}

void HostExchange::receive_ahead() {
  for (; next_receive_ < mine_.size() && next_receive_ < next_add_ + kAhead; ++next_receive_) {
    std::vector<Transport::Request> requests;
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == ranks_.rank()) continue;
      requests.push_back(
          ranks_.transport().receive(std::as_writable_bytes(slot(next_receive_, rank)), rank));
    }
    receives_.push_back(std::move(requests));
  }
}

bool HostExchange::all_done(std::vector<Transport::Request>& requests) {
  std::erase_if(requests,
                [&](Transport::Request request) { return ranks_.transport().done(request); });
  return requests.empty();
}

void HostExchange::add_arrived() {
  while (next_add_ < next_receive_) {
    const ExchangeChunk& chunk = chunks_[mine_[next_add_]];
    if (chunk.whole_after > step_ || !all_done(receives_.front())) return;
    receives_.pop_front();
    float* own = gradients_.data() + chunk.range.begin;
    std::vector<float*> parts;
    for (int rank = 0; rank < ranks_.size(); ++rank)
      parts.push_back(rank == ranks_.rank() ? own : slot(next_add_, rank).data());
    tree_add(parts, chunk.count());
    if (parts[0] != own) std::copy_n(parts[0], chunk.count(), own);
    ++next_add_;
    receive_ahead();
  }
}

void HostExchange::advance(int32_t step) {
  step_ = std::max(step_, step);
  for (; next_send_ < chunks_.size() && chunks_[next_send_].whole_after <= step_; ++next_send_) {
    const ExchangeChunk& chunk = chunks_[next_send_];
    if (chunk.owner == ranks_.rank()) continue;
    const auto part = gradients_.subspan(chunk.range.begin, chunk.count());
    sends_.push_back(ranks_.transport().send(std::as_bytes(part), chunk.owner));
  }
  add_arrived();
}

void HostExchange::finish() {
  Ranks::Patience patience(ranks_);
  while (next_add_ < mine_.size() || !all_done(sends_)) {
    patience.pause();
    add_arrived();
  }
}

void HostExchange::share(std::span<float> values) {
  std::vector<Transport::Request> requests;
  for (int owner = 0; owner < ranks_.size(); ++owner) {
    const Shards::Range owned = shards_.owned(owner);
    for (size_t begin = owned.begin; begin < owned.end; begin += kShared) {
      const auto piece = values.subspan(begin, std::min(kShared, owned.end - begin));
      requests.push_back(ranks_.transport().broadcast(std::as_writable_bytes(piece), owner));
    }
  }
  for (const Transport::Request request : requests) ranks_.wait(request);
}

}  // namespace quern::train
