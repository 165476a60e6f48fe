#pragma once

#include <cstddef>
#include <cstdint>

// What of NVIDIA's driver interface (libcuda.so.1, cuda.h) is called, as a table of functions found
// at run time. Names and numbers are held against cuda.h by vendor_headers_test.cc where it is
// found.
namespace quern::kernels::cuda {

namespace api {
inline constexpr int kOutOfMemory = 2, kNoDevice = 100, kNoBinary = 209, kNotReady = 600;
inline constexpr int kComputeMajor = 75, kComputeMinor = 76, kSharedOptIn = 97;
inline constexpr int kConcurrentManaged = 89;
inline constexpr int kMaxDynamicShared = 8;
inline constexpr unsigned kNonBlocking = 1, kDisableTiming = 2, kAttachGlobal = 1, kPortable = 1;
inline constexpr int kCaptureRelaxed = 2;
}  // namespace api

using DevicePointer = unsigned long long;
struct DeviceUuid {
  unsigned char bytes[16];
};

struct DriverApi {
  int (*init)(unsigned) = nullptr;
  int (*error_string)(int, const char**) = nullptr;
  int (*device_count)(int*) = nullptr;
  int (*device)(int*, int) = nullptr;
  int (*device_name)(char*, int, int) = nullptr;
  int (*device_uuid)(DeviceUuid*, int) = nullptr;
  int (*device_attribute)(int*, int, int) = nullptr;
  int (*context_retain)(void**, int) = nullptr;
  int (*context_release)(int) = nullptr;
  int (*context_set)(void*) = nullptr;
  int (*context_synchronize)() = nullptr;
  int (*memory_info)(size_t*, size_t*) = nullptr;
  int (*allocate)(DevicePointer*, size_t) = nullptr;
  int (*allocate_shared)(DevicePointer*, size_t, unsigned) = nullptr;
  int (*release)(DevicePointer) = nullptr;
  int (*allocate_pinned)(void**, size_t, unsigned) = nullptr;
  int (*release_pinned)(void*) = nullptr;
  int (*set_bytes)(DevicePointer, unsigned char, size_t) = nullptr;
  int (*copy)(DevicePointer, DevicePointer, size_t, void*) = nullptr;
  int (*set_bytes_async)(DevicePointer, unsigned char, size_t, void*) = nullptr;
  int (*stream_create)(void**, unsigned) = nullptr;
  int (*stream_destroy)(void*) = nullptr;
  int (*stream_wait)(void*, void*, unsigned) = nullptr;
  int (*event_create)(void**, unsigned) = nullptr;
  int (*event_destroy)(void*) = nullptr;
  int (*event_record)(void*, void*) = nullptr;
  int (*event_synchronize)(void*) = nullptr;
  int (*event_query)(void*) = nullptr;
  int (*module_load)(void**, const void*) = nullptr;
  int (*module_unload)(void*) = nullptr;
  int (*module_function)(void**, void*, const char*) = nullptr;
  int (*function_set)(void*, int, int) = nullptr;
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                void**, void**) = nullptr;
  int (*begin_capture)(void*, int) = nullptr;
  int (*end_capture)(void*, void**) = nullptr;
  int (*graph_instantiate)(void**, void*, unsigned long long) = nullptr;
  int (*graph_launch)(void*, void*) = nullptr;
  int (*graph_destroy)(void*) = nullptr;
  int (*graph_exec_destroy)(void*) = nullptr;
};

}  // namespace quern::kernels::cuda
