#include "quern/kernels/cuda/cuda_driver.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/kernels/cuda/blas_lt.h"
#include "quern/kernels/cuda/cudnn_attention.h"
#include "quern/kernels/cuda/driver_api.h"
#include "quern/kernels/cuda/nccl.h"
#include "quern/kernels/cuda/shared_library.h"

namespace quern::kernels::cuda {
namespace {

[[noreturn]] void no_cuda(const std::string& why, const std::string& hint) {
  throw Error("no_cuda", "CUDA cannot be used: " + why, hint);
}

DriverApi find_driver(const SharedLibrary& library) {
  DriverApi api;
  const bool all =
      library.find("cuInit", api.init) && library.find("cuGetErrorString", api.error_string) &&
      library.find("cuDeviceGetCount", api.device_count) &&
      library.find("cuDeviceGet", api.device) && library.find("cuDeviceGetName", api.device_name) &&
      library.find("cuDeviceGetUuid_v2", api.device_uuid) &&
      library.find("cuDeviceGetAttribute", api.device_attribute) &&
      library.find("cuDevicePrimaryCtxRetain", api.context_retain) &&
      library.find("cuDevicePrimaryCtxRelease_v2", api.context_release) &&
      library.find("cuCtxSetCurrent", api.context_set) &&
      library.find("cuCtxSynchronize", api.context_synchronize) &&
      library.find("cuMemGetInfo_v2", api.memory_info) &&
      library.find("cuMemAlloc_v2", api.allocate) &&
      library.find("cuMemAllocManaged", api.allocate_shared) &&
      library.find("cuMemFree_v2", api.release) &&
      library.find("cuMemHostAlloc", api.allocate_pinned) &&
      library.find("cuMemFreeHost", api.release_pinned) &&
      library.find("cuMemsetD8_v2", api.set_bytes) && library.find("cuMemcpyAsync", api.copy) &&
      library.find("cuMemsetD8Async", api.set_bytes_async) &&
      library.find("cuStreamCreate", api.stream_create) &&
      library.find("cuStreamDestroy_v2", api.stream_destroy) &&
      library.find("cuStreamWaitEvent", api.stream_wait) &&
      library.find("cuEventCreate", api.event_create) &&
      library.find("cuEventDestroy_v2", api.event_destroy) &&
      library.find("cuEventRecord", api.event_record) &&
      library.find("cuEventSynchronize", api.event_synchronize) &&
      library.find("cuEventQuery", api.event_query) &&
      library.find("cuModuleLoadData", api.module_load) &&
      library.find("cuModuleUnload", api.module_unload) &&
      library.find("cuModuleGetFunction", api.module_function) &&
      library.find("cuFuncSetAttribute", api.function_set) &&
      library.find("cuLaunchKernel", api.launch) &&
      library.find("cuStreamBeginCapture_v2", api.begin_capture) &&
      library.find("cuStreamEndCapture", api.end_capture) &&
      library.find("cuGraphInstantiateWithFlags", api.graph_instantiate) &&
      library.find("cuGraphLaunch", api.graph_launch) &&
      library.find("cuGraphDestroy", api.graph_destroy) &&
      library.find("cuGraphExecDestroy", api.graph_exec_destroy);
  if (!all) no_cuda("NVIDIA's driver is too old", "install driver 525 or newer");
  return api;
}

bool find_blas(const SharedLibrary& library, BlasLt& blas) {
  return library.find("cublasLtCreate", blas.create) &&
         library.find("cublasLtDestroy", blas.destroy) &&
         library.find("cublasLtMatmulDescCreate", blas.matmul_desc_create) &&
         library.find("cublasLtMatmulDescDestroy", blas.matmul_desc_destroy) &&
         library.find("cublasLtMatmulDescSetAttribute", blas.matmul_desc_set) &&
         library.find("cublasLtMatrixLayoutCreate", blas.layout_create) &&
         library.find("cublasLtMatrixLayoutDestroy", blas.layout_destroy) &&
         library.find("cublasLtMatmulPreferenceCreate", blas.preference_create) &&
         library.find("cublasLtMatmulPreferenceDestroy", blas.preference_destroy) &&
         library.find("cublasLtMatmulPreferenceSetAttribute", blas.preference_set) &&
         library.find("cublasLtMatmulAlgoGetHeuristic", blas.heuristic) &&
         library.find("cublasLtMatmul", blas.matmul);
}

DevicePointer address(const void* data) { return reinterpret_cast<DevicePointer>(data); }
void* pointer(DevicePointer data) { return reinterpret_cast<void*>(static_cast<uintptr_t>(data)); }

/// libcuda.so.1 and what is called of it.
struct DriverLibrary {
  DriverLibrary();
  /// GPUs that the driver shows this process; throws Error("no_cuda") where there is none.
  int device_count() const;
  void check(int status, const char* call, const std::string& device = "CUDA") const;

  SharedLibrary library{"libcuda.so.1"};
  DriverApi api;
};

DriverLibrary::DriverLibrary() {
  if (kernel_image().empty()) {
    no_cuda("this program was built without its kernels",
            "build it where nvcc is found (CUDA 12 or 13), or use --device cpu");
  }
  if (!library.open()) {
    no_cuda(fmt::format("NVIDIA's driver is not found ({})", library.reason()),
            "install the driver, or use --device cpu");
  }
  api = find_driver(library);
}

int DriverLibrary::device_count() const {
  int count = 0;
  const int status = api.init(0);
  if (status == 0) check(api.device_count(&count), "cuDeviceGetCount");
  if (status == api::kNoDevice || (status == 0 && count == 0)) {
    no_cuda("the driver sees no GPU", "see what nvidia-smi says, or use --device cpu");
  }
  check(status, "cuInit");
  return count;
}

void DriverLibrary::check(int status, const char* call, const std::string& device) const {
  if (status == 0) return;
  const char* words = nullptr;
  api.error_string(status, &words);
  throw DeviceError(
      fmt::format("{}: {} ({})", device, words != nullptr ? words : "unknown error", call),
      "set QUERN_CUDA_CHECK=1 to wait after each op, which names the one that fails");
}

class CudaDriver : public Driver {
 public:
  explicit CudaDriver(int ordinal);
  ~CudaDriver() override;

  std::string describe() const override {
    return fmt::format("{}, compute {}.{}", name_, architecture_ / 10, architecture_ % 10);
  }
  size_t free_bytes() const override {
    size_t free = 0;
    size_t total = 0;
    check(api_.memory_info(&free, &total), "cuMemGetInfo");
    return free;
  }
  std::byte* allocate(size_t bytes, Memory memory) override;
  void release(std::byte* data, size_t bytes, Memory memory) noexcept override;
  void copy(void* to, const void* from, size_t bytes, Queue queue) override {
    check(api_.copy(address(to), address(from), bytes, stream(queue)), "cuMemcpyAsync");
  }
  void fill_zero(void* to, size_t bytes, Queue queue) override {
    if (bytes == 0) return;
    check(api_.set_bytes_async(address(to), 0, bytes, stream(queue)), "cuMemsetD8Async");
  }
  Event make_event() override {
    void* event = nullptr;
    check(api_.event_create(&event, api::kDisableTiming), "cuEventCreate");
    events_.push_back(event);
    return {static_cast<uint32_t>(events_.size() - 1)};
  }
  void record(Event event, Queue queue) override {
    check(api_.event_record(events_[event.index], stream(queue)), "cuEventRecord");
  }
  void wait(Event event, Queue queue) override {
    check(api_.stream_wait(stream(queue), events_[event.index], 0), "cuStreamWaitEvent");
  }
  void wait_for(Event event) override {
    check(api_.event_synchronize(events_[event.index]), "cuEventSynchronize");
  }
  bool reached(Event event) override {
    const int status = api_.event_query(events_[event.index]);
    if (status == api::kNotReady) return false;
    check(status, "cuEventQuery");
    return true;
  }
  void synchronize() override { check(api_.context_synchronize(), "cuCtxSynchronize"); }
  void launch(const char* kernel, const LaunchSize& size, const void* arguments,
              size_t bytes) override;
  void begin_capture() override {
    check(api_.begin_capture(stream(Queue::kCompute), api::kCaptureRelaxed),
          "cuStreamBeginCapture");
  }
  std::unique_ptr<CapturedGraph> end_capture() override;
  const BlasLt* blas() const override { return has_blas_ ? &blas_ : nullptr; }
  const QuernCudnnLibrary* cudnn() const override { return find_cudnn_library(); }
  const Nccl& nccl() override;
  void* stream(Queue queue) const override { return streams_[static_cast<size_t>(queue)]; }
  std::string identity() const override { return identity_; }
  void enter_thread() override { check(api_.context_set(context_), "cuCtxSetCurrent"); }
  int architecture() const override { return architecture_; }
  size_t shared_limit() const override { return shared_limit_; }

  void check(int status, const char* call) const {
    driver_.check(status, call, name_.empty() ? "CUDA" : name_);
  }

 private:
  friend class CudaGraph;
  void open_device(int ordinal);
  void open_blas();
  void* function_of(const char* kernel, size_t shared_bytes);

  DriverLibrary driver_;
  const DriverApi& api_ = driver_.api;
  SharedLibrary blas_library_{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
  BlasLt blas_;
  bool has_blas_ = false;
  std::optional<SharedLibrary> nccl_library_;
  Nccl nccl_;
  int device_ = 0;
  std::string name_, identity_;
  int architecture_ = 0;
  size_t shared_limit_ = 0;
  void* context_ = nullptr;
  void* module_ = nullptr;
  void* streams_[kQueues] = {};
  std::vector<void*> events_;
  std::map<std::string, void*, std::less<>> functions_;
};

class CudaGraph : public CapturedGraph {
 public:
  CudaGraph(CudaDriver& driver, void* graph) : driver_(driver) {
    const int status = driver_.api_.graph_instantiate(&graph_, graph, 0);
    driver_.api_.graph_destroy(graph);
    driver_.check(status, "cuGraphInstantiate");
  }
  ~CudaGraph() override { driver_.api_.graph_exec_destroy(graph_); }
  void launch() override {
    driver_.check(driver_.api_.graph_launch(graph_, driver_.stream(Queue::kCompute)),
                  "cuGraphLaunch");
  }

 private:
  CudaDriver& driver_;
  void* graph_ = nullptr;
};

CudaDriver::CudaDriver(int ordinal) {
  const int count = driver_.device_count();
  if (ordinal < 0 || ordinal >= count) {
    no_cuda(fmt::format("there is no GPU {}: {} are seen, from 0 on", ordinal, count),
            "see what nvidia-smi says");
  }
  open_device(ordinal);
  open_blas();
}

void CudaDriver::open_device(int ordinal) {
  check(api_.device(&device_, ordinal), "cuDeviceGet");
  char name[256] = {};
  check(api_.device_name(name, sizeof(name), device_), "cuDeviceGetName");
  name_ = name;
  DeviceUuid uuid{};
  check(api_.device_uuid(&uuid, device_), "cuDeviceGetUuid");
  for (const unsigned char byte : uuid.bytes) identity_ += fmt::format("{:02x}", byte);
  const auto attribute = [&](int which) {
    int value = 0;
    check(api_.device_attribute(&value, which, device_), "cuDeviceGetAttribute");
    return value;
  };
  architecture_ = attribute(api::kComputeMajor) * 10 + attribute(api::kComputeMinor);
  // Kernels have up to 4 KiB of shared memory of their own besides.
  shared_limit_ = static_cast<size_t>(attribute(api::kSharedOptIn)) - 4096;
  if (attribute(api::kConcurrentManaged) == 0) {
    no_cuda(name_ + " cannot share memory with the host while it computes",
            "use a Linux system that is not in a virtual machine's subsystem, or --device cpu");
  }
  check(api_.context_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
  check(api_.context_set(context_), "cuCtxSetCurrent");
  const int loaded = api_.module_load(&module_, kernel_image().data());
  if (loaded == api::kNoBinary) {
    no_cuda(fmt::format("this program has no kernels for {}", describe()),
            "build it with its architecture in QUERN_CUDA_ARCHITECTURES");
  }
  check(loaded, "cuModuleLoadData");
  for (void*& stream : streams_)
    check(api_.stream_create(&stream, api::kNonBlocking), "cuStreamCreate");
}

void CudaDriver::open_blas() {
  const char* wanted = std::getenv("QUERN_CUDA_BLAS");
  if (wanted != nullptr && std::string_view(wanted) == "0") return;
  has_blas_ = blas_library_.open() && find_blas(blas_library_, blas_);
}

const Nccl& CudaDriver::nccl() {
  if (!nccl_library_) {
    prepare_nccl();
    nccl_library_.emplace(std::initializer_list<const char*>{"libnccl.so.2", "libnccl.so"});
    nccl_ = find_nccl(*nccl_library_);
  }
  return nccl_;
}

CudaDriver::~CudaDriver() {
  for (void* event : events_) api_.event_destroy(event);
  for (void* stream : streams_) {
    if (stream != nullptr) api_.stream_destroy(stream);
  }
  if (module_ != nullptr) api_.module_unload(module_);
  if (context_ != nullptr) api_.context_release(device_);
}

std::byte* CudaDriver::allocate(size_t bytes, Memory memory) {
  void* pinned = nullptr;
  DevicePointer data = 0;
  int status = 0;
  if (memory == Memory::kPinned) {
    status = api_.allocate_pinned(&pinned, bytes, api::kPortable);
  } else if (memory == Memory::kShared) {
    status = api_.allocate_shared(&data, bytes, api::kAttachGlobal);
  } else {
    status = api_.allocate(&data, bytes);
  }
  if (status == api::kOutOfMemory) {
    throw Error("out_of_memory",
                fmt::format("{} has {} free, {} are asked for", name_,
                            format_bytes(static_cast<double>(free_bytes())),
                            format_bytes(static_cast<double>(bytes))),
                "choose a smaller --size, batch or context");
  }
  check(status, "cuMemAlloc");
  if (pinned != nullptr) {
    std::memset(pinned, 0, bytes);
    return static_cast<std::byte*>(pinned);
  }
  check(api_.set_bytes(data, 0, bytes), "cuMemsetD8");
  check(api_.context_synchronize(), "cuCtxSynchronize");
  return static_cast<std::byte*>(pointer(data));
}

void CudaDriver::release(std::byte* data, size_t, Memory memory) noexcept {
  if (memory == Memory::kPinned) {
    api_.release_pinned(data);
  } else {
    api_.release(address(data));
  }
}

void* CudaDriver::function_of(const char* kernel, size_t shared_bytes) {
  const auto found = functions_.find(kernel);
  if (found != functions_.end()) return found->second;
  void* function = nullptr;
  check(api_.module_function(&function, module_, kernel), kernel);
  if (shared_bytes > 0) {
    check(api_.function_set(function, api::kMaxDynamicShared, static_cast<int>(shared_limit_)),
          kernel);
  }
  functions_.emplace(kernel, function);
  return function;
}

void CudaDriver::launch(const char* kernel, const LaunchSize& size, const void* arguments, size_t) {
  void* parameters[] = {const_cast<void*>(arguments)};
  check(api_.launch(function_of(kernel, size.shared_bytes), size.blocks_x, size.blocks_y,
                    size.blocks_z, size.threads, 1, 1, static_cast<unsigned>(size.shared_bytes),
                    stream(size.queue), parameters, nullptr),
        kernel);
}

std::unique_ptr<CapturedGraph> CudaDriver::end_capture() {
  void* graph = nullptr;
  check(api_.end_capture(stream(Queue::kCompute), &graph), "cuStreamEndCapture");
  return std::make_unique<CudaGraph>(*this, graph);
}

}  // namespace

int gpu_count() { return DriverLibrary().device_count(); }

std::unique_ptr<Driver> open_cuda(int ordinal) { return std::make_unique<CudaDriver>(ordinal); }

}  // namespace quern::kernels::cuda
