#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "quern/kernels/cuda/blas_lt.h"
#include "quern/kernels/cuda/cudnn_library.h"
#include "quern/kernels/cuda/driver.h"

namespace quern::kernels::cuda {

/// Makes sure that the kernels' file is part of the program.
void link_emulated_kernels();

/// A CUDA device made of the processor, for tests. It runs the kernels' own sources; its memory
/// cannot be read by the host but while the device works, so that a slip into it is a crash here as
/// on a GPU. What is queued runs at once, unless it is being captured.
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
  Event make_event() override { return {events_++}; }
  void record(Event, Queue) override {}
  void wait(Event, Queue) override {}
  void wait_for(Event) override {}
  void synchronize() override { ++synchronizations_; }
  void launch(const char* kernel, const LaunchSize& size, const void* arguments,
              size_t bytes) override;
  void begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;
  const BlasLt* blas() const override;
  const QuernCudnnLibrary* cudnn() const override;
  void* compute_stream() const override { return const_cast<EmulatedDriver*>(this); }
  int architecture() const override { return 90; }
  size_t shared_limit() const override { return 227 << 10; }

  /// Runs work now, with the device's memory open, or records it while capturing.
  void queue(std::function<void()> work);

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
  std::vector<std::function<void()>> captured_;
  bool capturing_ = false;
  uint32_t events_ = 0;
  int launches_ = 0, graph_launches_ = 0, products_ = 0, synchronizations_ = 0;
  int attentions_ = 0, attention_plans_ = 0;
  std::vector<std::string> kernels_run_;
};

/// An imitation of cuBLASLt over an EmulatedDriver's memory: column-major, as the library. The
/// stream it is given is the driver.
const BlasLt& emulated_blas();

/// An imitation of libquern_cudnn, in float64. The stream it is given is the driver.
const QuernCudnnLibrary& emulated_cudnn();

}  // namespace quern::kernels::cuda
