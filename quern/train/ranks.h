#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quern/train/transport.h"

namespace quern::kernels::cuda {
class Gpu;
}

namespace quern::train {

class GpuRanks;

/// The processes that train one model together, seen from one of them. Alone, every call returns at
/// once. The root (rank 0) alone writes the run folder and speaks to the user. What is not marked
/// `const` must be called by all ranks, in the same order.
class Ranks {
 public:
  Ranks();  // alone
  explicit Ranks(std::unique_ptr<Transport> transport);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return transport_ ? transport_->rank() : 0; }
  int size() const { return transport_ ? transport_->size() : 1; }
  bool root() const { return rank() == 0; }
  /// Ranks on this machine, this one included.
  int on_this_machine() const { return transport_ ? transport_->local_size() : 1; }
  /// Which of them this one is.
  int place_on_this_machine() const { return transport_ ? transport_->local_rank() : 0; }
  /// Threads of this rank, where the user asked for so many (0: all, shared with its neighbours).
  int threads(int asked) const;

  /// Adds up over the ranks, in place.
  void sum(std::span<double> values);
  bool any(bool mine);
  /// What each rank gave, in their order.
  std::vector<double> from_all(double mine);
  double from_root(double value);
  std::string from_root(std::string text);

  /// Joins the GPU that this rank computes on with those of the others; it must outlive part().
  /// Throws as GpuRanks does.
  void join_gpus(kernels::cuda::Gpu& gpu);
  GpuRanks* gpus() { return gpus_.get(); }  // null: not joined

  Transport& transport() { return *transport_; }
  /// Waits for a transfer, without taking the core from others for long. Throws Error("rank_lost")
  /// when a rank on this machine is gone.
  void wait(Transport::Request request);
  /// Between two looks at what has arrived: yields at first, then sleeps; watches the neighbours.
  class Patience {
   public:
    static constexpr std::chrono::microseconds kLongSleep{1000};
    /// Sleeps no longer than `longest` at a time.
    explicit Patience(const Ranks& ranks, std::chrono::microseconds longest = kLongSleep);
    void pause();

   private:
    const Ranks& ranks_;
    std::chrono::microseconds longest_;
    std::chrono::steady_clock::time_point begin_, checked_;
  };
  /// Throws Error("rank_lost") when a rank on this machine is gone.
  void require_neighbours() const;

  /// Ends all ranks after an error here.
  void abort(int exit_code);
  /// Waits for the others, parts the GPUs and ends MPI: of a rank that is done. One that failed
  /// aborts instead.
  void part();

 private:
  void find_neighbours();

  std::unique_ptr<Transport> transport_;
  std::unique_ptr<GpuRanks> gpus_;
  struct Neighbour {
    int rank;
    pid_t process;
  };
  std::vector<Neighbour> neighbours_;
};

}  // namespace quern::train
