#pragma once

#include <cstdint>
#include <optional>

#include "quern/model/model_config.h"
#include "quern/sizing/hardware.h"

namespace quern::sizing {

/// A decoder to train, by the numbers that size it.
struct Demand {
  double parameters = 0;
  double flops_per_token = 0;  // forward and backward, nothing made again
  double layers = 0, width = 0, context = 0, vocabulary = 0;
  double tokens = 0;  // to train on, repeats counted
  /// Counted from the model's declared parameters; nothing is allocated.
  static Demand of(const model::ModelConfig& config, double tokens);
};

/// How a model lies on accelerators that each train one sequence at a time in bf16, with float32
/// master weights, gradients and AdamW moments.
struct Placement {
  int stage = 1;           // of what is dealt out (Rajbhandari et al. 2020): 1 optimizer, 2 and
                           // gradients, 3 and weights
  bool recompute = false;  // every layer's activations are made again in backward
  double state = 0;        // bytes each: weights, gradients, optimizer
  double activations = 0;  // bytes each
  double total() const { return state + activations; }
};

/// Bytes of a placement: state of 6 + 12/d, 2 + 16/d or 18/d a parameter on d accelerators, plus
/// the live layer's weights in stage 3; activations of 34·s·h a layer with fused attention, 2·s·h
/// and one layer where they are made again (Korthikanti et al. 2022, section 4), and the logits
/// with their gradient.
Placement place(const Demand& demand, int64_t count, int stage, bool recompute);
/// The placement of the least extra work that fits in nine tenths of the memory; none: nothing
/// fits.
std::optional<Placement> fit(const Demand& demand, const Hardware& hardware, int64_t count);
/// The fewest accelerators that hold the model; none: not even `most` of them.
std::optional<int64_t> fewest_that_fit(const Demand& demand, const Hardware& hardware,
                                       int64_t most = 1'000'000);

/// Seconds of training at this share of the peak, which counts what is made again as work done.
/// Throws UsageError for a share that is not in (0, 1].
double training_seconds(const Demand& demand, const Hardware& hardware, int64_t count, double share,
                        bool recompute);
/// The fewest accelerators that are done in time, whatever their memory.
int64_t fewest_in_time(const Demand& demand, const Hardware& hardware, double share, bool recompute,
                       double seconds);

/// Interruptions to expect, by the 419 that Llama 3's 54 days on 16,384 GPUs had (Grattafiori et
/// al. 2024): one in 50,700 hours of an accelerator.
double expected_failures(double accelerator_hours);
/// How often to save, √(2δM) with δ seconds a checkpoint and M between failures (Young 1974).
double checkpoint_interval(int64_t count, double save_seconds);

}  // namespace quern::sizing
