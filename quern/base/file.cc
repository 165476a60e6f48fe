#include "quern/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "quern/base/error.h"

namespace quern {
namespace {

constexpr size_t kBufferSize = size_t{1} << 16;

[[noreturn]] void fail(const std::string& action, const fs::path& path, int error) {
  const std::string message =
      action + " '" + path.string() + "': " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      throw IoError(message, "check the path; the folder must exist", "file_missing");
    case EISDIR:
      throw IoError(message, "name a file, not a folder", "is_a_folder");
    case EACCES:
    case EPERM:
    case EROFS:
      throw IoError(message, "check the permissions of the file and its folder", "no_permission");
    case ENOSPC:
    case EDQUOT:
      throw IoError(message, "free some space or write elsewhere", "disk_full");
    default:
      throw IoError(message);
  }
}

int open_retrying(const fs::path& path, int flags, mode_t mode = 0666) {
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

// Returns 0 or the error.
int write_all(int descriptor, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(descriptor, data, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
  return 0;
}

int sync(int descriptor) {
  // A file system without fsync (EINVAL, ENOTSUP) gives what it can.
  if (::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP) return 0;
  return errno;
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

}  // namespace

std::string read_file(const fs::path& path) {
  const Descriptor file(open_retrying(path, O_RDONLY));
  if (file.get() < 0) fail("cannot open", path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail("cannot read", path, errno);
  if (S_ISDIR(status.st_mode)) fail("cannot read", path, EISDIR);
  std::string text;
  size_t used = 0;
  // One byte more than the size, so that the end is seen without growing.
  size_t want = S_ISREG(status.st_mode) ? static_cast<size_t>(status.st_size) + 1 : kBufferSize;
  for (;;) {
    text.resize(used + want);
    const ssize_t got = ::read(file.get(), text.data() + used, want);
    if (got < 0) {
      if (errno == EINTR) continue;
      fail("cannot read", path, errno);
    }
    if (got == 0) break;
    used += static_cast<size_t>(got);
    want = std::max(kBufferSize, text.size() - used);
  }
  text.resize(used);
  return text;
}

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)) {
  struct stat status {};
  if (::stat(target_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) fail("cannot write", target_, EISDIR);
    if (!S_ISREG(status.st_mode)) {
      descriptor_ = open_retrying(target_, O_WRONLY);
      if (descriptor_ < 0) fail("cannot write", target_, errno);
      return;
    }
    std::error_code ignored;
    const fs::path followed = fs::canonical(target_, ignored);
    if (!ignored) target_ = followed;
  }
  static std::atomic<uint64_t> counter{0};
  do {
    part_ = folder_of(target_) / ("." + target_.filename().string() + ".part-" +
                                  std::to_string(::getpid()) + "-" + std::to_string(counter++));
    descriptor_ = open_retrying(part_, O_WRONLY | O_CREAT | O_EXCL);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail("cannot write", target_, errno);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (!part_.empty()) ::unlink(part_.c_str());
  part_.clear();
}

void AtomicFile::flush() {
  const int error = write_all(descriptor_, buffer_.data(), buffer_.size());
  buffer_.clear();
  if (error != 0) {
    discard();
    fail("cannot write", target_, error);
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write(std::string_view text) {
  if (descriptor_ < 0) throw IoError("'" + target_.string() + "' is already closed");
  size_ += text.size();
  if (buffer_.size() + text.size() > kBufferSize) flush();
  if (text.size() >= kBufferSize) {
    if (const int error = write_all(descriptor_, text.data(), text.size())) {
      discard();
      fail("cannot write", target_, error);
    }
  } else {
    buffer_.append(text);
  }
}

void AtomicFile::commit() {
  if (descriptor_ < 0) throw IoError("'" + target_.string() + "' is already closed");
  flush();
  int error = part_.empty() ? 0 : sync(descriptor_);
  if (::close(std::exchange(descriptor_, -1)) != 0 && error == 0) error = errno;
  if (error == 0 && !part_.empty() && ::rename(part_.c_str(), target_.c_str()) != 0) error = errno;
  if (error != 0) {
    discard();
    fail("cannot write", target_, error);
  }
  if (part_.empty()) return;
  part_.clear();
  const Descriptor folder(open_retrying(folder_of(target_), O_RDONLY | O_DIRECTORY));
  if (folder.get() >= 0 && (error = sync(folder.get())) != 0) fail("cannot write", target_, error);
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AppendFile::AppendFile(fs::path path) : path_(std::move(path)) {
  descriptor_ = open_retrying(path_, O_WRONLY | O_CREAT | O_APPEND);
  if (descriptor_ < 0) fail("cannot write", path_, errno);
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::write(std::string_view text) {
  if (const int error = write_all(descriptor_, text.data(), text.size())) {
    fail("cannot write", path_, error);
  }
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor file(open_retrying(path, O_RDONLY));
  if (file.get() < 0) fail("cannot open", path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail("cannot read", path, errno);
  if (S_ISDIR(status.st_mode)) fail("cannot read", path, EISDIR);
  if (!S_ISREG(status.st_mode)) {
    throw IoError("cannot map '" + path.string() + "': it is not a plain file",
                  "copy it to a file first");
  }
  if (status.st_size == 0) return;
  const size_t size = static_cast<size_t>(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) fail("cannot map", path, errno);
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace quern
