#include "quern/kernels/cuda/emulated/emulated_nccl.h"

// A libnccl.so.2 without a GPU: the names of NCCL that the program looks for, over the imitation,
// so that several processes train with `--device cuda` on any machine.
using quern::kernels::cuda::emulated_nccl;
using quern::kernels::cuda::NcclId;

extern "C" {

int ncclGetUniqueId(NcclId* id) { return emulated_nccl().unique_id(id); }
int ncclCommInitRank(void** comm, int ranks, NcclId id, int rank) {
  return emulated_nccl().comm_init(comm, ranks, id, rank);
}
int ncclCommDestroy(void* comm) { return emulated_nccl().comm_destroy(comm); }
int ncclCommAbort(void* comm) { return emulated_nccl().comm_abort(comm); }
int ncclCommGetAsyncError(void* comm, int* error) {
  return emulated_nccl().async_error(comm, error);
}
const char* ncclGetErrorString(int error) { return emulated_nccl().error_string(error); }
const char* ncclGetLastError(void* comm) { return emulated_nccl().last_error(comm); }
int ncclReduce(const void* from, void* to, size_t count, int type, int op, int root, void* comm,
               void* stream) {
  return emulated_nccl().reduce(from, to, count, type, op, root, comm, stream);
}
int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, void* comm,
                  void* stream) {
  return emulated_nccl().broadcast(from, to, count, type, root, comm, stream);
}
int ncclSend(const void* data, size_t count, int type, int peer, void* comm, void* stream) {
  return emulated_nccl().send(data, count, type, peer, comm, stream);
}
int ncclRecv(void* data, size_t count, int type, int peer, void* comm, void* stream) {
  return emulated_nccl().receive(data, count, type, peer, comm, stream);
}
int ncclGroupStart() { return emulated_nccl().group_start(); }
int ncclGroupEnd() { return emulated_nccl().group_end(); }

}  // extern "C"
