#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "quern/kernels/cuda/driver_api.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/emulator.h"

// A libcuda.so.1 without a GPU: what of NVIDIA's driver cuda_driver.cc calls, over the emulator, so
// that the whole of `--device cuda` is tested on any machine. Statuses: 0 success, 2 out of memory,
// 1 invalid.
using quern::Error;
using quern::Memory;
using quern::Queue;
using quern::kernels::cuda::CapturedGraph;
using quern::kernels::cuda::DevicePointer;
using quern::kernels::cuda::EmulatedDriver;
using quern::kernels::cuda::LaunchSize;
namespace api = quern::kernels::cuda::api;
namespace emulator = quern::kernels::cuda::emulator;

namespace {

constexpr int kInvalid = 1;
constexpr size_t kMemory = size_t{2} << 30;

struct Allocation {
  size_t bytes;
  Memory memory;
};

int number_in(const char* variable, int otherwise) {
  const char* said = std::getenv(variable);
  return said == nullptr ? otherwise : std::atoi(said);
}
/// CUDA_VISIBLE_DEVICES shows one GPU alone, the one of that number.
int shown_alone() { return number_in("CUDA_VISIBLE_DEVICES", -1); }
/// QUERN_EMULATED_GPUS: how many a process sees; it uses one of them.
int gpu_count() { return shown_alone() >= 0 ? 1 : number_in("QUERN_EMULATED_GPUS", 1); }

EmulatedDriver& device() {
  static EmulatedDriver driver(EmulatedDriver::Options{.memory = kMemory, .blas = false});
  return driver;
}
std::map<DevicePointer, Allocation>& allocations() {
  static std::map<DevicePointer, Allocation> all;
  return all;
}

void* pointer(DevicePointer data) { return reinterpret_cast<void*>(static_cast<uintptr_t>(data)); }

/// 0, or the status of what went wrong.
template <typename Work>
int status_of(const Work& work) {
  try {
    work();
    return 0;
  } catch (const Error& error) {
    return error.code() == "out_of_memory" ? api::kOutOfMemory : kInvalid;
  }
}

int allocate(DevicePointer* data, size_t bytes, Memory memory) {
  return status_of([&] {
    *data = reinterpret_cast<DevicePointer>(device().allocate(bytes, memory));
    allocations()[*data] = {bytes, memory};
  });
}

int release(DevicePointer data) {
  const auto found = allocations().find(data);
  if (found == allocations().end()) return kInvalid;
  device().release(static_cast<std::byte*>(pointer(data)), found->second.bytes,
                   found->second.memory);
  allocations().erase(found);
  return 0;
}

Queue queue_of(void* stream) {
  return stream == nullptr ? Queue::kCompute
                           : static_cast<quern::kernels::cuda::EmulatedStream*>(stream)->queue;
}
quern::Event event_of(void* event) {
  return {static_cast<uint32_t>(reinterpret_cast<uintptr_t>(event) - 1)};
}

int handle(void** made) {
  static int any = 0;
  *made = &any;
  return 0;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return 0; }
int cuGetErrorString(int status, const char** text) {
  *text = status == api::kOutOfMemory ? "out of memory" : "invalid argument";
  return 0;
}
int cuDeviceGetCount(int* count) {
  *count = gpu_count();
  return 0;
}
int cuDeviceGet(int* which, int ordinal) {
  *which = ordinal;
  return ordinal < gpu_count() ? 0 : kInvalid;
}
int cuDeviceGetUuid_v2(quern::kernels::cuda::DeviceUuid* uuid, int which) {
  *uuid = {};
  uuid->bytes[0] = static_cast<unsigned char>(which + std::max(0, shown_alone()));
  return 0;
}
int cuDeviceGetName(char* name, int bytes, int) {
  std::strncpy(name, "an emulated GPU", static_cast<size_t>(bytes));
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == api::kComputeMajor        ? 9
           : attribute == api::kSharedOptIn       ? 232448
           : attribute == api::kConcurrentManaged ? 1
                                                  : 0;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return handle(context); }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void*) { return 0; }
int cuCtxSynchronize() { return 0; }
int cuMemGetInfo_v2(size_t* free, size_t* total) {
  *free = device().free_bytes();
  *total = kMemory;
  return 0;
}
int cuMemAlloc_v2(DevicePointer* data, size_t bytes) {
  return allocate(data, bytes, Memory::kDevice);
}
int cuMemAllocManaged(DevicePointer* data, size_t bytes, unsigned) {
  return allocate(data, bytes, Memory::kShared);
}
int cuMemFree_v2(DevicePointer data) { return release(data); }
int cuMemHostAlloc(void** data, size_t bytes, unsigned) {
  DevicePointer made = 0;
  const int status = allocate(&made, bytes, Memory::kPinned);
  *data = pointer(made);
  return status;
}
int cuMemFreeHost(void* data) { return release(reinterpret_cast<DevicePointer>(data)); }
int cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, void* stream) {
  return status_of(
      [&] { device().queue([=] { std::memset(pointer(to), value, bytes); }, queue_of(stream)); });
}
int cuMemsetD8_v2(DevicePointer to, unsigned char value, size_t bytes) {
  return cuMemsetD8Async(to, value, bytes, nullptr);
}
int cuMemcpyAsync(DevicePointer to, DevicePointer from, size_t bytes, void* stream) {
  return status_of([&] { device().copy(pointer(to), pointer(from), bytes, queue_of(stream)); });
}
int cuStreamCreate(void** stream, unsigned) {
  static size_t made = 0;  // the program makes them in the order of Queue
  *stream = device().stream(static_cast<Queue>(made++ % quern::kQueues));
  return 0;
}
int cuStreamDestroy_v2(void*) { return 0; }
int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  return status_of([&] { device().wait(event_of(event), queue_of(stream)); });
}
int cuEventCreate(void** event, unsigned) {
  *event = reinterpret_cast<void*>(static_cast<uintptr_t>(device().make_event().index) + 1);
  return 0;
}
int cuEventDestroy_v2(void*) { return 0; }
int cuEventRecord(void* event, void* stream) {
  return status_of([&] { device().record(event_of(event), queue_of(stream)); });
}
int cuEventSynchronize(void*) { return 0; }
int cuEventQuery(void*) { return 0; }
int cuModuleLoadData(void** module, const void* image) {
  // A fat binary begins with its magic number.
  uint32_t magic = 0;
  std::memcpy(&magic, image, sizeof(magic));
  return magic == 0xBA55ED50U ? handle(module) : api::kNoBinary;
}
int cuModuleUnload(void*) { return 0; }
int cuModuleGetFunction(void** function, void*, const char* name) {
  return status_of(
      [&] { *function = const_cast<emulator::Kernel*>(&emulator::find_kernel(name)); });
}
int cuFuncSetAttribute(void*, int attribute, int) {
  return attribute == api::kMaxDynamicShared ? 0 : kInvalid;
}
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads,
                   unsigned threads_y, unsigned threads_z, unsigned shared, void* stream,
                   void** parameters, void**) {
  if (threads_y != 1 || threads_z != 1) return kInvalid;
  const auto& kernel = *static_cast<const emulator::Kernel*>(function);
  return status_of([&] {
    device().launch(kernel.name, LaunchSize{x, y, z, threads, shared, queue_of(stream)},
                    parameters[0], kernel.argument_bytes);
  });
}
int cuStreamBeginCapture_v2(void*, int) {
  return status_of([] { device().begin_capture(); });
}
int cuStreamEndCapture(void*, void** graph) {
  return status_of([&] { *graph = device().end_capture().release(); });
}
int cuGraphInstantiateWithFlags(void** instance, void* graph, unsigned long long) {
  *instance = graph;
  return 0;
}
int cuGraphLaunch(void* instance, void*) {
  return status_of([&] { static_cast<CapturedGraph*>(instance)->launch(); });
}
int cuGraphDestroy(void*) { return 0; }
int cuGraphExecDestroy(void* instance) {
  delete static_cast<CapturedGraph*>(instance);
  return 0;
}

}  // extern "C"
