#pragma once

#include <cstddef>
#include <thread>

#include "quern/base/thread_pool.h"
#include "quern/kernels/cuda/driver.h"
#include "quern/kernels/cuda/nccl.h"

namespace quern::kernels::cuda {

/// One GPU among several, each a rank's, that pass floats among them through NCCL, on the exchange
/// queue. All calls but abort() must be made by all ranks, in the same order; they return when the
/// work is queued, and may be captured. Throws Error("nccl") that names the call.
class Communicator {
 public:
  /// For one rank to make and all to be given. Throws Error("no_nccl") where the library is not
  /// found.
  static NcclId make_id(Driver& driver);
  /// Returns when all ranks are here; a thread of its own may wait for that.
  Communicator(Driver& driver, const NcclId& id, int ranks, int rank);
  /// Ends what is under way, unless close() was called.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  /// Once all ranks are through, and graphs that hold transfers are gone.
  void close();

  /// Queues what `calls` asks for as one, so that transfers in both directions do not wait for each
  /// other.
  void group(FunctionRef<void()> calls);
  /// Σ over the ranks, in place on `root`; elsewhere `data` stays as it is.
  void reduce(float* data, size_t count, int root);
  void broadcast(float* data, size_t count, int root);
  void send(const float* data, size_t count, int to);
  void receive(float* data, size_t count, int from);

  /// Throws when a transfer that was queued has failed since.
  void check_transfers() const;
  /// Ends all transfers under way, here; the others' must be ended there. Nothing can be queued
  /// after it.
  void abort() noexcept;

 private:
  void check(int status, const char* call) const;

  Driver& driver_;
  const Nccl& nccl_;
  Nccl::Comm comm_ = nullptr;
  void* stream_;
  std::thread aborting_;
};

}  // namespace quern::kernels::cuda
