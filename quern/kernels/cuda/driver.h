#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "quern/tensor/device.h"

struct QuernCudnnLibrary;

namespace quern::kernels::cuda {

struct BlasLt;
struct Nccl;

/// How many threads run a kernel, in blocks, the shared memory that each block is given at its
/// launch, and the queue that runs it.
struct LaunchSize {
  uint32_t blocks_x = 1, blocks_y = 1, blocks_z = 1;
  uint32_t threads = 256;
  size_t shared_bytes = 0;
  Queue queue = Queue::kCompute;
};

/// What has been recorded from the compute queue, to be run again as one.
class CapturedGraph {
 public:
  virtual ~CapturedGraph() = default;
  virtual void launch() = 0;
};

/// A device that runs the kernels of this folder by name. CudaDriver (cuda_driver.h) is the real
/// one; the tests have one that runs the same sources on the processor.
class Driver : public Device {
 public:
  /// `arguments` is the kernel's one argument, a struct of arguments.h, `bytes` long; it is copied.
  virtual void launch(const char* kernel, const LaunchSize& size, const void* arguments,
                      size_t bytes) = 0;

  /// From now on the compute queue's work is recorded, not run, until end_capture(); so is that of
  /// a queue which waits for an event recorded so. Such a queue must be waited for before the end.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<CapturedGraph> end_capture() = 0;

  /// cuBLASLt, or null: own kernels multiply.
  virtual const BlasLt* blas() const = 0;
  /// libquern_cudnn, or null: own kernels compute attention. Looked for when it is asked for.
  virtual const QuernCudnnLibrary* cudnn() const = 0;
  /// NCCL, looked for now. Throws Error("no_nccl") that says what to install.
  virtual const Nccl& nccl() = 0;
  /// A queue as the vendor's libraries take it.
  virtual void* stream(Queue queue) const = 0;
  /// What no two GPUs have in common, as text.
  virtual std::string identity() const = 0;
  /// Lets another thread call the vendor's libraries on this device.
  virtual void enter_thread() = 0;
  /// Compute capability, 90 for 9.0.
  virtual int architecture() const = 0;
  /// The most dynamic shared memory that a block may ask for.
  virtual size_t shared_limit() const = 0;
};

}  // namespace quern::kernels::cuda
