#include "quern/kernels/cuda/nccl.h"

#include <fmt/format.h>

#include <cstdlib>

#include "quern/base/error.h"
#include "quern/kernels/cuda/shared_library.h"

namespace quern::kernels::cuda {

void prepare_nccl() {
  // One algorithm, so that the same GPUs add in the same order in every run.
  setenv("NCCL_ALGO", "Ring", 0);
  // Gradients stand in managed memory, which is not what NCCL registers for others.
  setenv("NCCL_GRAPH_REGISTER", "0", 0);
}

Nccl find_nccl(const SharedLibrary& library) {
  const auto missing = [](const std::string& why) {
    throw Error("no_nccl", fmt::format("several GPUs train through NCCL, which {}", why),
                "install NCCL 2.14 or newer (NVIDIA's package libnccl2), or set LD_LIBRARY_PATH to "
                "the folder of libnccl.so.2; or start one process");
  };
  if (!library.open()) missing(fmt::format("is not found ({})", library.reason()));
  Nccl api;
  const bool all =
      library.find("ncclGetUniqueId", api.unique_id) &&
      library.find("ncclCommInitRank", api.comm_init) &&
      library.find("ncclCommDestroy", api.comm_destroy) &&
      library.find("ncclCommAbort", api.comm_abort) &&
      library.find("ncclCommGetAsyncError", api.async_error) &&
      library.find("ncclGetErrorString", api.error_string) &&
      library.find("ncclGetLastError", api.last_error) && library.find("ncclReduce", api.reduce) &&
      library.find("ncclBroadcast", api.broadcast) && library.find("ncclSend", api.send) &&
      library.find("ncclRecv", api.receive) && library.find("ncclGroupStart", api.group_start) &&
      library.find("ncclGroupEnd", api.group_end);
  if (!all) missing("is too old");
  return api;
}

}  // namespace quern::kernels::cuda
