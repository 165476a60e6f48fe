#pragma once

#include <cstdint>

#include "quern/model/encoder.h"

namespace quern::model {

/// Traces the encoder up to its head: inputs as trace_encoder's but for "linear", outputs "row"
/// (B,head_inputs()), each after its copy_prefix().
graph::Graph trace_representation(const EncoderConfig& config, const graph::ParameterStore& store,
                                  int64_t batch);

}  // namespace quern::model
