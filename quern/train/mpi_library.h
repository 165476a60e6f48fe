#pragma once

#include <cstddef>

// Between the program and libquern_mpi, the only part that is compiled against MPI: a table of
// plain functions. The program finds it at run time, so that it starts where there is no MPI, and
// the library is rebuilt for another MPI without the program.
extern "C" {

struct QuernMpiLibrary {
  int version;  // of this table
  /// Initialises MPI; the local ones are among the ranks that share this machine's memory. 0, or an
  /// MPI error code.
  int (*start)(int* rank, int* size, int* local_rank, int* local_size);
  /// Each starts a transfer and returns its request; null on an error. Bytes and count fit an int.
  void* (*send)(const void* data, size_t bytes, int to);
  void* (*receive)(void* data, size_t bytes, int from);
  void* (*broadcast)(void* data, size_t bytes, int from);
  void* (*sum)(double* values, size_t count);
  /// 1 done (the request is freed), 0 not yet, -1 failed.
  int (*done)(void* request);
  const char* (*last_error)();
  void (*finish)();
  void (*abort)(int exit_code);
};

/// The one symbol of libquern_mpi.
const QuernMpiLibrary* quern_mpi_library();
}

namespace quern::train {
inline constexpr int kMpiLibraryVersion = 2;
inline constexpr const char* kMpiLibrarySymbol = "quern_mpi_library";
inline constexpr const char* kMpiLibraryFile = "libquern_mpi.so";
}  // namespace quern::train
