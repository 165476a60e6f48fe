#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "quern/graph/plan_impl.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/tensor/buffer.h"

namespace quern::graph {

/// The host's side of a plan on a GPU: what the caller writes before a run and reads after it.
///
/// Inputs stand in pinned memory; a run copies them, in one piece and on the copy queue, to a
/// landing place on the device, and from there to where the plan has them. So the caller may fill
/// in the next run's inputs while this one computes. Outputs are copied back from when they are
/// first asked for.
class Staging {
 public:
  explicit Staging(kernels::cuda::Gpu& gpu) : gpu_(gpu) {}

  /// An input whose place on the device is `place`; before allocate().
  void add_input(Value value, TensorView place);
  void allocate();

  /// The host's view of an input; waits until the last run has taken what it held.
  TensorView input(Value value);
  /// The host's view of something on the device, brought back now and after every run.
  TensorView output(TensorView place);

  void upload();    // queues the copies of all inputs; the compute queue waits for them
  void download();  // queues the copies of all outputs asked for

  size_t device_bytes() const { return landing_.size(); }

 private:
  struct Input {
    Value value;
    TensorView place;
    size_t offset;
  };
  struct Output {
    TensorView place;
    Buffer buffer;
  };
  kernels::cuda::Gpu& gpu_;
  std::vector<Input> inputs_;
  std::map<std::byte*, Output> outputs_;
  Buffer pinned_, landing_;
  size_t bytes_ = 0;
  Event uploaded_, landed_;
  bool pending_ = false;
};

}  // namespace quern::graph
