#pragma once

#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "quern/train/engine.h"
#include "quern/train/ranks.h"

// Ranks as threads of one process, for tests: the same calls as over MPI, messages through memory;
// and a run of some steps as they make it.
namespace quern::train {

class MemoryHub {
 public:
  explicit MemoryHub(int size) : size_(size) {}
  int size() const { return size_; }

  void put(int from, int to, uint64_t number, std::span<const std::byte> data) {
    const std::lock_guard lock(mutex_);
    messages_[{from, to, number}].assign(data.begin(), data.end());
  }
  bool take(int from, int to, uint64_t number, std::span<std::byte> data) {
    const std::lock_guard lock(mutex_);
    const auto found = messages_.find({from, to, number});
    if (found == messages_.end()) return false;
    if (found->second.size() != data.size()) throw std::logic_error("a message of another size");
    std::memcpy(data.data(), found->second.data(), data.size());
    messages_.erase(found);
    return true;
  }
  void add(uint64_t number, std::span<const double> values) {
    const std::lock_guard lock(mutex_);
    Sum& sum = sums_[number];
    sum.values.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) sum.values[i] += values[i];
    ++sum.arrived;
  }
  bool added(uint64_t number, std::span<double> values) {
    const std::lock_guard lock(mutex_);
    const Sum& sum = sums_.at(number);
    if (sum.arrived < size_) return false;
    std::copy(sum.values.begin(), sum.values.end(), values.begin());
    return true;
  }

 private:
  struct Sum {
    std::vector<double> values;
    int arrived = 0;
  };
  int size_;
  std::mutex mutex_;
  std::map<std::tuple<int, int, uint64_t>, std::vector<std::byte>> messages_;
  std::map<uint64_t, Sum> sums_;
};

class MemoryTransport : public Transport {
 public:
  MemoryTransport(MemoryHub& hub, int rank)
      : hub_(hub), rank_(rank), sent_(static_cast<size_t>(hub.size())), received_(sent_) {}

  int rank() const override { return rank_; }
  int size() const override { return hub_.size(); }
  int local_rank() const override { return rank_; }
  int local_size() const override { return hub_.size(); }
  Request send(std::span<const std::byte> data, int to) override {
    hub_.put(rank_, to, sent_[static_cast<size_t>(to)]++, data);
    return new Pending([] { return true; });
  }
  Request receive(std::span<std::byte> data, int from) override {
    const uint64_t number = received_[static_cast<size_t>(from)]++;
    return new Pending([this, data, from, number] { return hub_.take(from, rank_, number, data); });
  }
  Request broadcast(std::span<std::byte> data, int from) override {
    if (from != rank_) return receive(data, from);
    for (int to = 0; to < size(); ++to)
      if (to != rank_) hub_.put(rank_, to, sent_[static_cast<size_t>(to)]++, data);
    return new Pending([] { return true; });
  }
  Request sum(std::span<double> values) override {
    const uint64_t number = sums_++;
    hub_.add(number, values);
    return new Pending([this, values, number] { return hub_.added(number, values); });
  }
  bool done(Request request) override {
    auto* pending = static_cast<Pending*>(request);
    if (!(*pending)()) return false;
    delete pending;
    return true;
  }
  void finish() override {}
  void abort(int) override {}

 private:
  using Pending = std::function<bool()>;
  MemoryHub& hub_;
  int rank_;
  std::vector<uint64_t> sent_, received_;
  uint64_t sums_ = 0;
};

/// Runs `body` as every one of so many ranks, each in a thread of its own; the first exception is
/// thrown again.
inline void as_ranks(int count, const std::function<void(Ranks&)>& body) {
  MemoryHub hub(count);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < count; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        Ranks ranks(std::make_unique<MemoryTransport>(hub, rank));
        body(ranks);
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

inline EngineOptions rank_options(bool exact, bool muon = false) {
  EngineOptions options;
  options.batch = 8;
  options.exact = exact;
  options.optimizer.muon = muon;
  options.optimizer.ema = 0.9F;
  return options;
}

/// What a run of some steps leaves on the root.
struct Outcome {
  std::vector<float> values;
  std::vector<double> losses;
  double validation = 0;
  float norm = 0;
};

inline std::vector<double> train_steps(Engine& engine, int64_t steps) {
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) losses.push_back(engine.step(step, 1e-3));
  return losses;
}

/// Evaluates, as every rank must; `outcome` is the root's to write.
inline void write_outcome(Outcome& outcome, Engine& engine, const Ranks& ranks,
                          std::vector<double> losses) {
  const double validation = engine.evaluate(task::Part::kValidation).loss;
  if (!ranks.root()) return;
  const auto values = engine.parameters().values();
  outcome = {{values.begin(), values.end()}, std::move(losses), validation, engine.gradient_norm()};
}

}  // namespace quern::train
