#include "quern/kernels/cuda/communicator.h"

#include <fmt/format.h>

#include <string_view>

#include "quern/base/error.h"

namespace quern::kernels::cuda {
namespace {

[[noreturn]] void fail(const Nccl& nccl, Nccl::Comm comm, int status, std::string_view call) {
  const std::string_view detail = nccl.last_error(comm);
  throw Error("nccl",
              fmt::format("{}: {}{}{}", call, nccl.error_string(status), detail.empty() ? "" : ": ",
                          detail),
              "set NCCL_DEBUG=INFO to see what NCCL found; go on from the last checkpoint with "
              "--resume");
}

}  // namespace

NcclId Communicator::make_id(Driver& driver) {
  const Nccl& nccl = driver.nccl();
  NcclId id{};
  const int status = nccl.unique_id(&id);
  if (status != nccl::kSuccess) fail(nccl, nullptr, status, "ncclGetUniqueId");
  return id;
}

Communicator::Communicator(Driver& driver, const NcclId& id, int ranks, int rank)
    : driver_(driver), nccl_(driver.nccl()), stream_(driver.stream(Queue::kExchange)) {
  driver_.enter_thread();
  check(nccl_.comm_init(&comm_, ranks, id, rank), "ncclCommInitRank");
}

Communicator::~Communicator() {
  abort();
  if (aborting_.joinable()) aborting_.join();
}

void Communicator::close() {
  if (comm_ == nullptr || aborting_.joinable()) return;
  check(nccl_.comm_destroy(comm_), "ncclCommDestroy");
  comm_ = nullptr;
}

void Communicator::group(FunctionRef<void()> calls) {
  check(nccl_.group_start(), "ncclGroupStart");
  try {
    calls();
  } catch (...) {
    nccl_.group_end();  // a group must not stay open; the first error is the one to tell
    throw;
  }
  check(nccl_.group_end(), "ncclGroupEnd");
}

void Communicator::reduce(float* data, size_t count, int root) {
  check(nccl_.reduce(data, data, count, nccl::kFloat32, nccl::kSum, root, comm_, stream_),
        "ncclReduce");
}
void Communicator::broadcast(float* data, size_t count, int root) {
  check(nccl_.broadcast(data, data, count, nccl::kFloat32, root, comm_, stream_), "ncclBroadcast");
}
void Communicator::send(const float* data, size_t count, int to) {
  check(nccl_.send(data, count, nccl::kFloat32, to, comm_, stream_), "ncclSend");
}
void Communicator::receive(float* data, size_t count, int from) {
  check(nccl_.receive(data, count, nccl::kFloat32, from, comm_, stream_), "ncclRecv");
}

void Communicator::check_transfers() const {
  int error = nccl::kSuccess;
  check(nccl_.async_error(comm_, &error), "ncclCommGetAsyncError");
  if (error == nccl::kInProgress) return;
  if (error != nccl::kSuccess) fail(nccl_, comm_, error, "a transfer between GPUs failed");
}

void Communicator::abort() noexcept {
  if (comm_ == nullptr || aborting_.joinable()) return;
  // The call makes waiting kernels end, and then itself waits for captured graphs to be destroyed,
  // which the thread that unwinds does meanwhile.
  aborting_ = std::thread([nccl = &nccl_, comm = comm_, driver = &driver_] {
    try {
      driver->enter_thread();
    } catch (const DeviceError&) {
      // Of a GPU that is lost itself nothing is left to end.
    }
    nccl->comm_abort(comm);
  });
}

void Communicator::check(int status, const char* call) const {
  if (status != nccl::kSuccess) fail(nccl_, comm_, status, call);
}

}  // namespace quern::kernels::cuda
