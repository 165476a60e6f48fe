#include "quern/kernels/cuda/emulated/emulated_driver.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "quern/base/progress.h"
#include "quern/kernels/cuda/emulated/emulated_nccl.h"
#include "quern/kernels/cuda/emulator.h"

namespace quern::kernels::cuda {
namespace {

constexpr size_t kPage = 4096;
size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

class EmulatedGraph : public CapturedGraph {
 public:
  EmulatedGraph(EmulatedDriver& driver, std::vector<std::function<void()>> work)
      : driver_(driver), work_(std::move(work)) {}
  void launch() override {
    ++driver_.graph_launches_;
    for (const auto& work : work_) driver_.run(work);
  }

 private:
  EmulatedDriver& driver_;
  std::vector<std::function<void()>> work_;
};

EmulatedDriver::EmulatedDriver(const Options& options)
    : options_(options),
      streams_{{{*this, Queue::kCompute}, {*this, Queue::kCopy}, {*this, Queue::kExchange}}} {
  link_emulated_kernels();
}
EmulatedDriver::~EmulatedDriver() = default;

std::byte* EmulatedDriver::allocate(size_t bytes, Memory memory) {
  if (memory != Memory::kPinned && bytes > free_bytes()) {
    throw Error("out_of_memory",
                fmt::format("the GPU has {} free, {} are asked for",
                            format_bytes(static_cast<double>(free_bytes())),
                            format_bytes(static_cast<double>(bytes))),
                "choose a smaller --size, batch or context");
  }
  void* data =
      mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw Error("out_of_memory", "mmap fails", "free memory");
  if (memory != Memory::kPinned) used_ += bytes;
  auto* start = static_cast<std::byte*>(data);
  if (memory == Memory::kDevice) {
    device_memory_[start] = bytes;
    mprotect(data, whole_pages(bytes), PROT_NONE);
  }
  return start;
}

void EmulatedDriver::release(std::byte* data, size_t bytes, Memory memory) noexcept {
  munmap(data, whole_pages(bytes));
  if (memory != Memory::kPinned) used_ -= bytes;
  device_memory_.erase(data);
}

void EmulatedDriver::open(bool readable) {
  for (const auto& [data, bytes] : device_memory_)
    mprotect(data, whole_pages(bytes), readable ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void EmulatedDriver::run(const std::function<void()>& work) {
  open(true);
  work();
  open(false);
}

void EmulatedDriver::queue(std::function<void()> work, Queue queue) {
  if (capturing_ && captured(queue).takes_part) {
    captured_.push_back(std::move(work));
    ++captured(queue).works;
  } else {
    run(work);
  }
}

void EmulatedDriver::record(Event event, Queue queue) {
  const bool inside = capturing_ && captured(queue).takes_part;
  events_.at(event.index) = {inside ? captures_ : 0, queue, captured(queue).works};
}

void EmulatedDriver::wait(Event event, Queue queue) {
  const Recorded& recorded = events_.at(event.index);
  const bool inside = capturing_ && recorded.capture == captures_;
  if (inside) {
    captured(queue).takes_part = true;
    ++captured(queue).works;
    if (queue == Queue::kCompute) {
      size_t& joined = captured(recorded.queue).joined;
      joined = std::max(joined, recorded.works);
    }
  } else if (recorded.capture != 0) {
    throw DeviceError("an event of a capture is waited for outside it", "record it again");
  } else if (capturing_ && captured(queue).takes_part) {
    throw DeviceError("a captured queue waits for what is outside the capture",
                      "record the event in the capture");
  }
}

void EmulatedDriver::copy(void* to, const void* from, size_t bytes, Queue on) {
  queue([=] { std::memcpy(to, from, bytes); }, on);
}

void EmulatedDriver::fill_zero(void* to, size_t bytes, Queue on) {
  queue([=] { std::memset(to, 0, bytes); }, on);
}

void EmulatedDriver::launch(const char* kernel, const LaunchSize& size, const void* arguments,
                            size_t bytes) {
  if (launches_++ == options_.fail_launch)
    throw DeviceError("an illegal memory access was encountered", "look at the op's inputs");
  const emulator::Kernel& found = emulator::find_kernel(kernel);
  if (found.argument_bytes != bytes)
    throw Error("emulator", fmt::format("{} is given another struct", kernel), "see arguments.h");
  if (size.blocks_y > 65535 || size.blocks_z > 65535 || size.threads > 1024)
    throw DeviceError(fmt::format("{}: an invalid grid", kernel), "see the CUDA limits");
  kernels_run_.emplace_back(kernel);
  std::vector<std::byte> copy(bytes);
  std::memcpy(copy.data(), arguments, bytes);
  const emulator::Grid grid{size.blocks_x, size.blocks_y, size.blocks_z, size.threads,
                            size.shared_bytes};
  queue([&found, grid, copy = std::move(copy)] { emulator::run(found, grid, copy.data()); },
        size.queue);
}

void EmulatedDriver::begin_capture() {
  capturing_ = true;
  ++captures_;
  captured_.clear();
  queues_ = {};
  captured(Queue::kCompute).takes_part = true;
}

std::unique_ptr<CapturedGraph> EmulatedDriver::end_capture() {
  capturing_ = false;
  for (const Captured& queue : queues_) {
    if (&queue != queues_.data() && queue.joined < queue.works)
      throw DeviceError("a capture ends before a queue that takes part in it", "wait for it");
  }
  return std::make_unique<EmulatedGraph>(*this, std::move(captured_));
}

const Nccl& EmulatedDriver::nccl() { return emulated_nccl(); }

const BlasLt* EmulatedDriver::blas() const { return options_.blas ? &emulated_blas() : nullptr; }
const QuernCudnnLibrary* EmulatedDriver::cudnn() const {
  return options_.cudnn ? &emulated_cudnn() : nullptr;
}

}  // namespace quern::kernels::cuda
