#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace quern {

/// Owns zero-filled memory aligned to 64 bytes. Every buffer is counted, so that a test can hold
/// the planner's promise against what was allocated. Throws Error("out_of_memory") naming the size.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
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
};

}  // namespace quern
