#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quern {

/// Bytes that grow at the end and are read anywhere once finish() was called. Beyond `budget` they
/// lie in an unnamed temporary file (in $TMPDIR, else /tmp), mapped for reading, which the system
/// may take out of memory and which is gone with the process.
class SpillBuffer {
 public:
  explicit SpillBuffer(size_t budget = size_t{64} << 20) : budget_(budget) {}
  ~SpillBuffer();
  SpillBuffer(SpillBuffer&& other) noexcept;
  SpillBuffer& operator=(SpillBuffer&& other) noexcept;

  /// Throws IoError (no room for the temporary file).
  void append(std::string_view bytes);
  template <typename T>
  void append_value(T value) {
    append({reinterpret_cast<const char*>(&value), sizeof(T)});
  }
  void finish();

  uint64_t size() const { return file_size_ + memory_.size(); }
  bool spilled() const { return descriptor_ >= 0; }
  /// After finish().
  std::string_view bytes() const {
    return mapped_ != nullptr ? std::string_view(mapped_, file_size_) : std::string_view(memory_);
  }
  template <typename T>
  std::span<const T> values() const {
    return {reinterpret_cast<const T*>(bytes().data()), bytes().size() / sizeof(T)};
  }

 private:
  void flush();

  size_t budget_;
  std::string memory_;
  int descriptor_ = -1;
  uint64_t file_size_ = 0;
  const char* mapped_ = nullptr;
};

}  // namespace quern
