#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

// Counts what this program takes from the heap, by new. Of a test program, one file includes it: it
// replaces the library's operators.

namespace quern {
inline std::atomic<uint64_t> heap_allocations{0};

inline void* count_and_allocate(size_t bytes) noexcept {
  heap_allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes == 0 ? 1 : bytes);
}
}  // namespace quern

// Not inlined: GCC would see free() meet the library's operator new.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (void* memory = quern::count_and_allocate(bytes)) return memory;
  throw std::bad_alloc();
}
// std::stable_sort's; the library's own would not go with the delete below.
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return quern::count_and_allocate(bytes);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
