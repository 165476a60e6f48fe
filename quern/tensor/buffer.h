#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "quern/tensor/device.h"

namespace quern {

/// Owns zero-filled memory aligned to 64 bytes, the host's or a device's. Every buffer is counted,
/// so that a test can hold the planner's promise against what was allocated. Throws
/// Error("out_of_memory") naming the size.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  /// On a device, which must outlive the buffer; with a null device the host's.
  Buffer(size_t bytes, Device* device, Memory memory);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        device_(other.device_),
        memory_(other.memory_) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(device_, other.device_);
    std::swap(memory_, other.memory_);
    return *this;
  }

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

  static constexpr size_t kAlignment = 64;
  static constexpr size_t align(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  /// Bytes in live buffers, and how many were ever made, over the whole process.
  static uint64_t live_bytes();
  static uint64_t allocations();

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  Device* device_ = nullptr;
  Memory memory_ = Memory::kHost;
};

}  // namespace quern
