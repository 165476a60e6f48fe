#include "quern/base/temporary_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "quern/base/error.h"

namespace quern {

void fail_temporary(const char* what) {
  throw IoError(std::string(what) + " a temporary file in '" +
                    std::filesystem::temp_directory_path().string() + "': " + std::strerror(errno),
                "free space there, or name another folder in TMPDIR",
                errno == ENOSPC ? "disk_full" : "io");
}

int make_temporary_file() {
  std::string name = (std::filesystem::temp_directory_path() / "quern.XXXXXX").string();
  const int descriptor = ::mkstemp(name.data());
  if (descriptor < 0) fail_temporary("cannot make");
  ::unlink(name.c_str());
  return descriptor;
}

void* allocate_pageable(size_t bytes) {
  const int descriptor = make_temporary_file();
  // Claimed now: a full disk is an error here, not a signal at the first write.
  const int error = ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
  void* data = MAP_FAILED;
  if (error == 0) data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const int reason = error != 0 ? error : errno;
  ::close(descriptor);  // the mapping holds the file
  if (data == MAP_FAILED) {
    errno = reason;
    fail_temporary("cannot reserve");
  }
  return data;
}

void free_pageable(void* data, size_t bytes) noexcept { ::munmap(data, bytes); }

}  // namespace quern
