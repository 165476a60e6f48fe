#include "quern/train/gpu_exchange.h"

#include <algorithm>

#include "quern/kernels/cuda/exchange.h"

namespace quern::train {
namespace {

// Large enough that a ring runs at its full speed, small enough that the last leave little behind.
constexpr size_t kReduced = size_t{1} << 22;
// What an exact owner holds of every other rank.
constexpr size_t kExact = size_t{1} << 20;

size_t most(GpuExchange::Options options) { return options.exact ? kExact : kReduced; }

size_t slot_floats(size_t arena, GpuExchange::Options options) {
  return options.exact ? std::min(arena, kExact) : 0;
}

}  // namespace

GpuExchange::GpuExchange(GpuRanks& gpus, const Shards& shards, std::span<float> gradients,
                         std::span<const int32_t> whole_after, Options options)
    : gpus_(gpus),
      shards_(shards),
      gradients_(gradients),
      options_(options),
      chunks_(plan_exchange(shards, whole_after, most(options))),
      incoming_(planned_bytes(gpus.size(), gradients.size(), options), &gpus.gpu().driver(),
                Memory::kDevice),
      slot_(slot_floats(gradients.size(), options)) {
  kernels::cuda::Driver& driver = gpus_.gpu().driver();
  computed_ = driver.make_event();
  exchanged_ = driver.make_event();
  done_ = driver.make_event();
}

size_t GpuExchange::planned_bytes(int ranks, size_t arena, Options options) {
  return static_cast<size_t>(ranks - 1) * slot_floats(arena, options) * sizeof(float);
}

void GpuExchange::begin() { next_ = 0; }

/// Lets queue `to` go on only when `from` has come to here.
void GpuExchange::follow(Event event, Queue from, Queue to) {
  gpus_.gpu().driver().record(event, from);
  gpus_.gpu().driver().wait(event, to);
}

void GpuExchange::advance(int32_t step) {
  const size_t first = next_;
  while (next_ < chunks_.size() && chunks_[next_].whole_after <= step) ++next_;
  if (next_ == first) return;
  const auto whole = std::span(chunks_).subspan(first, next_ - first);
  follow(computed_, Queue::kCompute, Queue::kExchange);
  if (options_.exact) {
    for (const ExchangeChunk& chunk : whole) add_exactly(chunk);
  } else {
    reduce(whole);
  }
  if (next_ == chunks_.size()) follow(exchanged_, Queue::kExchange, Queue::kCompute);
}

void GpuExchange::reduce(std::span<const ExchangeChunk> chunks) {
  kernels::cuda::Communicator& nccl = gpus_.communicator();
  nccl.group([&] {
    for (const ExchangeChunk& chunk : chunks)
      nccl.reduce(gradients_.data() + chunk.range.begin, chunk.count(), chunk.owner);
  });
}

void GpuExchange::add_exactly(const ExchangeChunk& chunk) {
  gather(chunk);
  if (chunk.owner != gpus_.rank()) return;
  kernels::cuda::tree_add(gpus_.gpu().context(), gradients_.data() + chunk.range.begin,
                          reinterpret_cast<float*>(incoming_.data()), static_cast<int64_t>(slot_),
                          static_cast<int64_t>(chunk.count()), gpus_.rank(), gpus_.size());
}

/// Brings all parts of a chunk to its owner. The queue is in order, so that the slots are free.
void GpuExchange::gather(const ExchangeChunk& chunk) {
  kernels::cuda::Communicator& nccl = gpus_.communicator();
  if (chunk.owner != gpus_.rank()) {
    nccl.send(gradients_.data() + chunk.range.begin, chunk.count(), chunk.owner);
    return;
  }
  nccl.group([&] {
    auto* slot = reinterpret_cast<float*>(incoming_.data());
    for (int rank = 0; rank < gpus_.size(); ++rank) {
      if (rank == gpus_.rank()) continue;
      nccl.receive(slot, chunk.count(), rank);
      slot += slot_;
    }
  });
}

void GpuExchange::finish() {
  gpus_.gpu().driver().record(done_, Queue::kCompute);
  gpus_.wait(done_);
}

void GpuExchange::share(std::span<float> values) {
  follow(computed_, Queue::kCompute, Queue::kExchange);
  kernels::cuda::Communicator& nccl = gpus_.communicator();
  nccl.group([&] {
    for (int owner = 0; owner < shards_.ranks(); ++owner) {
      const Shards::Range owned = shards_.owned(owner);
      if (owned.begin == owned.end) continue;
      nccl.broadcast(values.data() + owned.begin, owned.end - owned.begin, owner);
    }
  });
  follow(exchanged_, Queue::kExchange, Queue::kCompute);
  finish();
}

}  // namespace quern::train
