#pragma once

#include <cstddef>

namespace quern {

/// An unnamed file in $TMPDIR, else /tmp, gone with its descriptor. Throws IoError.
int make_temporary_file();
/// Throws IoError naming the folder, from errno: "cannot write a temporary file in '/tmp': …".
[[noreturn]] void fail_temporary(const char* what);

/// Memory of an unnamed temporary file, which the system may take out of memory when it runs short.
/// Throws IoError (no room for the file).
void* allocate_pageable(size_t bytes);
void free_pageable(void* data, size_t bytes) noexcept;

/// For a vector that may outgrow memory: large ones lie in a temporary file.
template <typename T>
struct PageableAllocator {
  using value_type = T;
  static constexpr size_t kInMemory = size_t{256} << 20;  // bytes; more go to the file

  PageableAllocator() = default;
  template <typename U>
  explicit(false) PageableAllocator(const PageableAllocator<U>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    return static_cast<T*>(bytes <= kInMemory ? ::operator new(bytes) : allocate_pageable(bytes));
  }
  void deallocate(T* data, size_t count) noexcept {
    const size_t bytes = count * sizeof(T);
    if (bytes <= kInMemory) {
      ::operator delete(data);
    } else {
      free_pageable(data, bytes);
    }
  }
  bool operator==(const PageableAllocator&) const = default;
};

}  // namespace quern
