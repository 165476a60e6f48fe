#include "quern/base/spill_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "quern/base/temporary_file.h"

namespace quern {
namespace {

constexpr size_t kPiece = size_t{4} << 20;  // written at a time

}  // namespace

SpillBuffer::~SpillBuffer() {
  if (mapped_ != nullptr) ::munmap(const_cast<char*>(mapped_), file_size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

SpillBuffer::SpillBuffer(SpillBuffer&& other) noexcept : budget_(other.budget_) {
  *this = std::move(other);
}

SpillBuffer& SpillBuffer::operator=(SpillBuffer&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(memory_, other.memory_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(file_size_, other.file_size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

void SpillBuffer::flush() {
  size_t done = 0;
  while (done < memory_.size()) {
    const ssize_t written = ::write(descriptor_, memory_.data() + done, memory_.size() - done);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_temporary("cannot write");
    }
    done += static_cast<size_t>(written);
  }
  file_size_ += memory_.size();
  memory_.clear();
}

void SpillBuffer::append(std::string_view bytes) {
  memory_.append(bytes);
  if (descriptor_ < 0 && memory_.size() > budget_) descriptor_ = make_temporary_file();
  if (descriptor_ >= 0 && memory_.size() > kPiece) flush();
}

void SpillBuffer::finish() {
  if (descriptor_ < 0) return;
  flush();
  memory_.shrink_to_fit();
  void* data = ::mmap(nullptr, file_size_, PROT_READ, MAP_PRIVATE, descriptor_, 0);
  if (data == MAP_FAILED) fail_temporary("cannot map");
  mapped_ = static_cast<const char*>(data);
}

}  // namespace quern
