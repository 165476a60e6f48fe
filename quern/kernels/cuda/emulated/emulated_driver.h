#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "quern/kernels/cuda/blas_lt.h"
#include "quern/kernels/cuda/cudnn_library.h"
#include "quern/kernels/cuda/driver.h"
#include "quern/kernels/cuda/nccl.h"

namespace quern::kernels::cuda {

/// Makes sure that the kernels' file is part of the program.
void link_emulated_kernels();

class EmulatedDriver;
/// What the vendor's libraries are handed as a stream.
struct EmulatedStream {
  EmulatedDriver& driver;
  Queue queue;
};

/// A CUDA device made of the processor, for tests. It runs the kernels' own sources; its memory
/// cannot be read by the host but while the device works, so that a slip into it is a crash here as
/// on a GPU. What is queued runs at once, unless it is being captured. Which queues take part in a
/// capture, and that they come together before its end, is checked as CUDA does.
class EmulatedDriver : public Driver {
 public:
  struct Options {
    size_t memory = size_t{1} << 30;
    bool blas = true;      // with an imitation of cuBLASLt
    bool cudnn = false;    // with an imitation of libquern_cudnn
    int fail_launch = -1;  // the launch of that number fails
  };
  explicit EmulatedDriver(const Options& options);
  EmulatedDriver() : EmulatedDriver(Options{}) {}
  ~EmulatedDriver() override;

  std::string describe() const override { return "emulated GPU, compute 9.0"; }
  size_t free_bytes() const override { return options_.memory - used_; }
  std::byte* allocate(size_t bytes, Memory memory) override;
  void release(std::byte* data, size_t bytes, Memory memory) noexcept override;
  void copy(void* to, const void* from, size_t bytes, Queue queue) override;
  void fill_zero(void* to, size_t bytes, Queue queue) override;
  Event make_event() override {
    events_.emplace_back();
    return {static_cast<uint32_t>(events_.size() - 1)};
  }
  void record(Event event, Queue queue) override;
  void wait(Event event, Queue queue) override;
  void wait_for(Event) override {}
  bool reached(Event) override { return answers_; }
  void synchronize() override { ++synchronizations_; }
  void launch(const char* kernel, const LaunchSize& size, const void* arguments,
              size_t bytes) override;
  void begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;
  const BlasLt* blas() const override;
  const QuernCudnnLibrary* cudnn() const override;
  const Nccl& nccl() override;
  void* stream(Queue queue) const override {
    return const_cast<EmulatedStream*>(&streams_[static_cast<size_t>(queue)]);
  }
  std::string identity() const override {
    return std::to_string(reinterpret_cast<uintptr_t>(this));
  }
  void enter_thread() override {}
  int architecture() const override { return 90; }
  size_t shared_limit() const override { return 227 << 10; }

  /// Runs work now, with the device's memory open, or records it where the queue is captured.
  virtual void queue(std::function<void()> work, Queue queue = Queue::kCompute);
  /// Whether events are ever reached: without, as where a kernel waits for a GPU that is gone.
  void answer(bool answers) { answers_ = answers; }

  int launches() const { return launches_; }
  int graph_launches() const { return graph_launches_; }
  int products() const { return products_; }
  /// Runs of the imitation of libquern_cudnn, and plans that it was asked for.
  int attentions() const { return attentions_; }
  int attention_plans() const { return attention_plans_; }
  int synchronizations() const { return synchronizations_; }
  const std::vector<std::string>& kernels_run() const { return kernels_run_; }
  void count_product() { ++products_; }
  void count_attention() { ++attentions_; }
  void count_attention_plan() { ++attention_plans_; }

 private:
  friend class EmulatedGraph;
  void run(const std::function<void()>& work);
  void open(bool readable);

  Options options_;
  size_t used_ = 0;
  std::map<std::byte*, size_t> device_memory_;
  /// A queue's place in the capture under way.
  struct Captured {
    bool takes_part = false;
    size_t works = 0;   // recorded so far
    size_t joined = 0;  // of them, those that the compute queue waits for
  };
  struct Recorded {
    int capture = 0;  // 0: outside any
    Queue queue = Queue::kCompute;
    size_t works = 0;
  };
  Captured& captured(Queue queue) { return queues_[static_cast<size_t>(queue)]; }

  std::array<EmulatedStream, kQueues> streams_;
  std::vector<std::function<void()>> captured_;
  std::array<Captured, kQueues> queues_;
  bool capturing_ = false, answers_ = true;
  int captures_ = 0;
  std::vector<Recorded> events_;
  int launches_ = 0, graph_launches_ = 0, products_ = 0, synchronizations_ = 0;
  int attentions_ = 0, attention_plans_ = 0;
  std::vector<std::string> kernels_run_;
};

/// An imitation of cuBLASLt over an EmulatedDriver's memory: column-major, as the library. The
/// stream it is given is an EmulatedStream.
const BlasLt& emulated_blas();

/// An imitation of libquern_cudnn, in float64. The stream it is given is an EmulatedStream.
const QuernCudnnLibrary& emulated_cudnn();

}  // namespace quern::kernels::cuda
