#include "quern/train/gpu_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <utility>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/kernels/cuda/cuda_driver.h"

namespace quern::train {
namespace {

using kernels::cuda::Communicator;
using kernels::cuda::NcclId;

// A step is over within this long after the GPU is done.
constexpr auto kLook = std::chrono::microseconds(50);
// After a transfer has failed, the rank that is lost is looked for so often, and so long apart.
constexpr int kLooks = 20;
constexpr auto kBetweenLooks = std::chrono::milliseconds(10);

[[noreturn]] void too_few(int gpus, int local) {
  throw Error(
      "too_few_gpus",
      fmt::format("{} GPU{} seen, and {} ranks train on this machine, each on a GPU of its "
                  "own",
                  gpus, gpus == 1 ? " is" : "s are", local),
      fmt::format("start no more ranks a machine than it has GPUs (mpirun -np {}), see what "
                  "CUDA_VISIBLE_DEVICES hides, or leave --device out to train on "
                  "processors",
                  gpus));
}

/// 52 bits, which a double holds.
double number_of(const std::string& identity) {
  return static_cast<double>(hash64(identity) >> 12);
}

/// Where processes are shown different GPUs, only their identities tell whether each has its own.
void require_own_gpu(Ranks& ranks, const std::string& identity, int gpus) {
  const double mine = number_of(identity);
  const std::vector<double> all = ranks.from_all(mine);
  const auto sharing = static_cast<int>(std::count(all.begin(), all.end(), mine));
  if (sharing > 1) too_few(gpus, ranks.on_this_machine());
}

/// What the thread that joins leaves; it may outlive who waits for it when a rank is lost.
struct Joining {
  std::atomic<bool> done = false;
  std::unique_ptr<Communicator> communicator;
  std::exception_ptr error;
};

NcclId shared_id(Ranks& ranks, kernels::cuda::Driver& driver) {
  driver.nccl();  // every rank must have it
  NcclId id{};
  if (ranks.root()) id = Communicator::make_id(driver);
  const std::string bytes = ranks.from_root(std::string(id.bytes, sizeof(id.bytes)));
  std::memcpy(id.bytes, bytes.data(), sizeof(id.bytes));
  return id;
}

}  // namespace

int gpu_of_rank(int gpus, int place, int local) {
  if (gpus == 1) return 0;
  if (gpus < local) too_few(gpus, local);
  return place;
}

std::unique_ptr<kernels::cuda::Gpu> open_gpu(Ranks& ranks, kernels::cuda::Precision precision,
                                             bool stochastic_rounding) {
  if (ranks.size() == 1) return kernels::cuda::open_gpu(precision, stochastic_rounding);
  const int gpus = kernels::cuda::gpu_count();
  const int ordinal = gpu_of_rank(gpus, ranks.place_on_this_machine(), ranks.on_this_machine());
  auto gpu = kernels::cuda::open_gpu(precision, stochastic_rounding, ordinal);
  require_own_gpu(ranks, gpu->driver().identity(), gpus);
  return gpu;
}

GpuRanks::GpuRanks(Ranks& ranks, kernels::cuda::Gpu& gpu) : ranks_(ranks), gpu_(gpu) {
  const NcclId id = shared_id(ranks, gpu.driver());
  auto joining = std::make_shared<Joining>();
  std::thread([joining, id, driver = &gpu.driver(), size = ranks.size(), rank = ranks.rank()] {
    try {
      joining->communicator = std::make_unique<Communicator>(*driver, id, size, rank);
    } catch (...) {
      joining->error = std::current_exception();
    }
    joining->done = true;
  }).detach();
  Ranks::Patience patience(ranks_);
  while (!joining->done) patience.pause();
  if (joining->error) std::rethrow_exception(joining->error);
  communicator_ = std::move(joining->communicator);
}

void GpuRanks::wait(Event event) {
  Ranks::Patience patience(ranks_, kLook);
  try {
    while (!gpu_.driver().reached(event)) {
      require_transfers();
      patience.pause();
    }
    require_transfers();
  } catch (...) {
    communicator_->abort();
    throw;
  }
}

/// A transfer fails because its peer is gone: which one, its process tells a moment later.
void GpuRanks::require_transfers() const {
  try {
    communicator_->check_transfers();
  } catch (const Error&) {
    for (int look = 0; look < kLooks; ++look) {
      ranks_.require_neighbours();
      std::this_thread::sleep_for(kBetweenLooks);
    }
    throw;
  }
}

}  // namespace quern::train
