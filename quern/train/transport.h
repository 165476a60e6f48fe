#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace quern::train {

/// What ranks need of whatever carries their messages. Every call starts a transfer and returns;
/// the memory must stay until done() has said so. Calls of one pair of ranks arrive in the order in
/// which they were made; broadcast() and sum() must be made by all ranks in the same order. Used by
/// one thread.
class Transport {
 public:
  using Request = void*;
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Among the ranks on this machine.
  virtual int local_rank() const = 0;
  virtual int local_size() const = 0;
  virtual Request send(std::span<const std::byte> data, int to) = 0;
  virtual Request receive(std::span<std::byte> data, int from) = 0;
  virtual Request broadcast(std::span<std::byte> data, int from) = 0;
  /// Adds up over the ranks, in place.
  virtual Request sum(std::span<double> values) = 0;
  /// Whether the transfer is complete; the request is gone then. Throws Error("mpi") when it
  /// failed.
  virtual bool done(Request request) = 0;
  /// Once all ranks are through; no transfer may be open.
  virtual void finish() = 0;
  /// Ends every rank with this exit code. Returns only where that is impossible.
  virtual void abort(int exit_code) = 0;
};

/// Joins the ranks that mpirun or srun started with this process, through libquern_mpi, which is
/// looked for beside the program and in ../lib/quern (or where QUERN_MPI_LIBRARY says). Null where
/// this process was started alone. Throws Error("no_mpi") when the library or MPI is not there.
std::unique_ptr<Transport> join_mpi();

}  // namespace quern::train
