#pragma once

#include "quern/base/random.h"
#include "quern/graph/graph.h"
#include "quern/graph/store.h"

// Graphs for the tests of planner and executor.
namespace quern::graph::testing {

/// A decoder of one or more layers with every kind of sharing that training meets: tied embedding,
/// grouped heads, residuals in the epilogue, a gated unit, dropout. Inputs ids, targets (B,T),
/// loss_weight (1), random (4).
struct Decoder {
  Graph graph;
  Value table, first_hidden;
};
Decoder make_decoder(ParameterStore& store, int64_t layers, int64_t batch, int64_t length);
void fill_parameters(ParameterStore& store, uint64_t seed);

/// A graph of random ops on (B,T,C) values with many consumers each, ending in a cross-entropy.
Graph make_random_graph(ParameterStore& store, Random& random);

}  // namespace quern::graph::testing
