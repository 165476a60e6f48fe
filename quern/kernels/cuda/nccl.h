#pragma once

#include <cstddef>

// NCCL, which carries data between GPUs, as a table of functions found at run time. Names and
// numbers are those of NVIDIA's nccl.h, against which vendor_headers_test.cc holds them where the
// toolkit has it.
namespace quern::kernels::cuda {

class SharedLibrary;

namespace nccl {
inline constexpr int kSuccess = 0, kInvalidUsage = 5, kRemoteError = 6, kInProgress = 7;
inline constexpr int kFloat32 = 7;
inline constexpr int kSum = 0;
}  // namespace nccl

/// What one rank makes, and all need to meet.
struct NcclId {
  char bytes[128];
};

struct Nccl {
  using Comm = void*;
  int (*unique_id)(NcclId*) = nullptr;
  int (*comm_init)(Comm*, int ranks, NcclId, int rank) = nullptr;
  int (*comm_destroy)(Comm) = nullptr;
  int (*comm_abort)(Comm) = nullptr;
  int (*async_error)(Comm, int* error) = nullptr;
  const char* (*error_string)(int) = nullptr;
  const char* (*last_error)(Comm) = nullptr;
  int (*reduce)(const void* send, void* receive, size_t count, int type, int op, int root, Comm,
                void* stream) = nullptr;
  int (*broadcast)(const void* send, void* receive, size_t count, int type, int root, Comm,
                   void* stream) = nullptr;
  int (*send)(const void* data, size_t count, int type, int peer, Comm, void* stream) = nullptr;
  int (*receive)(void* data, size_t count, int type, int peer, Comm, void* stream) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
};

/// What NCCL reads of the environment when it starts, where the user has not decided it.
void prepare_nccl();
/// Throws Error("no_nccl") where the library is not open, or lacks a function.
Nccl find_nccl(const SharedLibrary& library);

}  // namespace quern::kernels::cuda
