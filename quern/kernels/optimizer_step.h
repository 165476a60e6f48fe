#pragma once

#include <cstddef>

#include "quern/kernels/cpu/optimizer.h"
#include "quern/kernels/host_device.h"

namespace quern::kernels {

/// Indices into `hyper` (8), what changes from step to step of the optimizer.
enum Hyper : size_t {
  kLearningRate,
  kBeta1,
  kBeta2,
  kEpsilon,
  kCorrection1,
  kCorrection2,
  kClip,  // maximum gradient norm; 0: none
  kEmaDecay,
  kHyperCount
};

/// What an optimizer's kernel reads of a step, where it stands: converted by the processor when the
/// kernel is called, by a device when it runs.
struct OptimizerStep {
  const float* hyper = nullptr;  // (kHyperCount)
  const float* norm = nullptr;   // (1) or null: no clipping
  float learning_rate_scale = 1;
  float momentum = 0;
  bool nesterov = false;

  /// min(1, clip / norm): the whole gradient is scaled to the norm allowed.
  QUERN_HOST_DEVICE float clip_factor() const {
    if (norm == nullptr || hyper[kClip] <= 0 || *norm <= hyper[kClip]) return 1;
    return hyper[kClip] / *norm;
  }
  QUERN_HOST_DEVICE explicit(false) operator cpu::AdamWStep() const {
    cpu::AdamWStep step;
    step.learning_rate = hyper[kLearningRate] * learning_rate_scale;
    step.beta1 = hyper[kBeta1];
    step.beta2 = hyper[kBeta2];
    step.epsilon = hyper[kEpsilon];
    step.correction1 = hyper[kCorrection1];
    step.correction2 = hyper[kCorrection2];
    step.gradient_scale = clip_factor();
    return step;
  }
  QUERN_HOST_DEVICE explicit(false) operator cpu::MuonStep() const {
    cpu::MuonStep step;
    step.learning_rate = hyper[kLearningRate] * learning_rate_scale;
    step.momentum = momentum;
    step.nesterov = nesterov;
    step.gradient_scale = clip_factor();
    return step;
  }
};

}  // namespace quern::kernels
