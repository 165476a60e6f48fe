#include "quern/train/ranks.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/train/gpu_ranks.h"

namespace quern::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kYield = std::chrono::microseconds(300);
constexpr auto kShortSleep = std::chrono::microseconds(50);
constexpr auto kLong = std::chrono::milliseconds(20);
constexpr auto kWatch = std::chrono::milliseconds(50);

std::string machine_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// 32 bits, which a double holds.
double machine_id() { return static_cast<double>(hash64(machine_name()) >> 32); }

bool is_gone(pid_t process) { return kill(process, 0) != 0 && errno == ESRCH; }

}  // namespace

Ranks::Ranks() = default;
Ranks::Ranks(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {
  if (transport_) find_neighbours();
}

Ranks::~Ranks() = default;

void Ranks::find_neighbours() {
  const std::vector<double> machines = from_all(machine_id());
  const std::vector<double> processes = from_all(static_cast<double>(getpid()));
  for (size_t i = 0; i < machines.size(); ++i) {
    if (machines[i] != machine_id()) continue;
    const auto process = static_cast<pid_t>(processes[i]);
    // In another process namespace it cannot be watched from here.
    if (process != getpid() && !is_gone(process))
      neighbours_.push_back({static_cast<int>(i), process});
  }
}

void Ranks::require_neighbours() const {
  for (const auto& [rank, process] : neighbours_) {
    if (!is_gone(process)) continue;
    throw Error(
        "rank_lost",
        fmt::format("rank {} (process {}) is gone, so all {} ranks stop", rank, process, size()),
        "go on from the last checkpoint with --resume");
  }
}

int Ranks::threads(int asked) const {
  if (asked > 0 || on_this_machine() == 1) return asked;
  const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::max(1, all / on_this_machine());
}

Ranks::Patience::Patience(const Ranks& ranks, std::chrono::microseconds longest)
    : ranks_(ranks), longest_(longest), begin_(Clock::now()), checked_(begin_) {}

void Ranks::Patience::pause() {
  const auto now = Clock::now();
  if (now - begin_ < kYield) {
    std::this_thread::yield();
    return;
  }
  if (now - checked_ > kWatch) {
    ranks_.require_neighbours();
    checked_ = now;
  }
  if (now - begin_ < kLong) {
    std::this_thread::sleep_for(std::min(kShortSleep, longest_));
  } else {
    std::this_thread::sleep_for(longest_);
  }
}

void Ranks::wait(Transport::Request request) {
  Patience patience(*this);
  while (!transport_->done(request)) patience.pause();
}

void Ranks::sum(std::span<double> values) {
  if (transport_) wait(transport_->sum(values));
}

bool Ranks::any(bool mine) {
  if (!transport_) return mine;
  double count = mine ? 1 : 0;
  sum({&count, 1});
  return count > 0;
}

std::vector<double> Ranks::from_all(double mine) {
  std::vector<double> all(static_cast<size_t>(size()));
  all[static_cast<size_t>(rank())] = mine;
  sum(all);
  return all;
}

double Ranks::from_root(double value) {
  if (transport_) wait(transport_->broadcast(std::as_writable_bytes(std::span(&value, 1)), 0));
  return value;
}

std::string Ranks::from_root(std::string text) {
  if (!transport_) return text;
  text.resize(static_cast<size_t>(from_root(static_cast<double>(text.size()))));
  if (!text.empty()) {
    wait(transport_->broadcast(std::as_writable_bytes(std::span(text.data(), text.size())), 0));
  }
  return text;
}

void Ranks::join_gpus(kernels::cuda::Gpu& gpu) { gpus_ = std::make_unique<GpuRanks>(*this, gpu); }

void Ranks::abort(int exit_code) {
  if (transport_) transport_->abort(exit_code);
}

void Ranks::part() {
  if (!transport_) return;
  any(false);
  if (gpus_) gpus_->communicator().close();
  gpus_.reset();
  transport_->finish();
  transport_.reset();
}

}  // namespace quern::train
