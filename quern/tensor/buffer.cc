#include "quern/tensor/buffer.h"

#include <sys/mman.h>

#include <atomic>

#include "quern/base/error.h"
#include "quern/base/progress.h"

namespace quern {
namespace {
std::atomic<uint64_t> live{0};
std::atomic<uint64_t> count{0};
}  // namespace

// Anonymous pages are zero, page aligned, and taken only when touched; large ones ask for huge
// pages, which spares the TLB in the optimizer's pass over all parameters.
Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    size_ = 0;
    throw Error("out_of_memory", "cannot allocate " + format_bytes(static_cast<double>(bytes)),
                "choose a smaller --size, batch or context");
  }
  if (bytes >= (size_t{4} << 20)) madvise(memory, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(memory);
  live += bytes;
  ++count;
}

Buffer::Buffer(size_t bytes, Device* device, Memory memory) {
  if (device == nullptr || memory == Memory::kHost) {
    *this = Buffer(bytes);
    return;
  }
  if (bytes == 0) return;
  data_ = device->allocate(bytes, memory);
  size_ = bytes;
  device_ = device;
  memory_ = memory;
  live += bytes;
  ++count;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (device_ != nullptr) {
    device_->release(data_, size_, memory_);
  } else {
    munmap(data_, size_);
  }
  live -= size_;
}

uint64_t Buffer::live_bytes() { return live; }
uint64_t Buffer::allocations() { return count; }

}  // namespace quern
