#include "quern/train/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "quern/base/random.h"

namespace quern::train {
namespace {

using graph::ParameterGroup;

graph::ParameterStore make_store() {
  graph::ParameterStore store;
  store.declare("a.weight", {5, 7}, ParameterGroup::kMatrix);
  store.declare("b.weight", {3, 4}, ParameterGroup::kMatrix);
  store.declare("embed", {11, 3}, ParameterGroup::kEmbedding);
  store.declare("norm", {9}, ParameterGroup::kVector);
  store.allocate();
  store.allocate_gradients();
  Random random(1, Stream::kTest);
  for (int32_t i = 0; i < 4; ++i) {
    for (float& value : store.value(i).f32_span()) value = static_cast<float>(random.normal());
  }
  return store;
}

void fill_gradients(graph::ParameterStore& store, uint64_t step) {
  Random random(2, Stream::kTest, step);
  for (int32_t i = 0; i < 4; ++i) {
    for (float& value : store.gradient(i).f32_span()) value = static_cast<float>(random.normal());
  }
}

/// torch.optim.AdamW in float64, one element at a time, with torch.nn.utils.clip_grad_norm_.
struct Reference {
  std::vector<double> p, m, v;
  double decay = 0;
  void step(std::span<const float> gradient, double scale, double rate, int64_t t,
            const OptimizerOptions& o) {
    const auto beta1 = static_cast<double>(o.beta1);
    const auto beta2 = static_cast<double>(o.beta2);
    for (size_t i = 0; i < p.size(); ++i) {
      const double g = static_cast<double>(gradient[i]) * scale;
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      p[i] *= 1 - rate * decay;
      const double corrected_m = m[i] / (1 - std::pow(beta1, static_cast<double>(t)));
      const double corrected_v = v[i] / (1 - std::pow(beta2, static_cast<double>(t)));
      p[i] -= rate * corrected_m / (std::sqrt(corrected_v) + static_cast<double>(o.epsilon));
    }
  }
};

TEST(Optimizer, TenStepsAgreeWithFloat64) {
  graph::ParameterStore store = make_store();
  ThreadPool pool(2);
  OptimizerOptions options;
  options.ema = 0.9F;
  options.weight_decay = 0.3F;
  Optimizer optimizer(options, OptimizerShare::all(store), store, pool);
  std::vector<Reference> references(4);
  std::vector<std::vector<double>> average(4);
  for (int32_t i = 0; i < 4; ++i) {
    const auto values = store.value(i).f32_span();
    auto& reference = references[static_cast<size_t>(i)];
    reference.p.assign(values.begin(), values.end());
    reference.m.assign(values.size(), 0);
    reference.v.assign(values.size(), 0);
    reference.decay = i < 3 ? static_cast<double>(options.weight_decay) : 0;
    average[static_cast<size_t>(i)] = reference.p;
  }
  for (int64_t step = 0; step < 10; ++step) {
    fill_gradients(store, static_cast<uint64_t>(step));
    double squares = 0;
    for (int32_t i = 0; i < 4; ++i) {
      for (const float g : store.gradient(i).f32_span()) {
        squares += static_cast<double>(g) * static_cast<double>(g);
      }
    }
    const double norm = std::sqrt(squares);
    const double rate = 0.01 * static_cast<double>(step + 1);
    optimizer.step(step, rate);
    EXPECT_NEAR(optimizer.gradient_norm(), norm, 1e-5 * norm);
    for (int32_t i = 0; i < 4; ++i) {
      auto& reference = references[static_cast<size_t>(i)];
      reference.step(store.gradient(i).f32_span(), std::min(1.0, 1 / norm), rate, step + 1,
                     options);
      auto& shadow = average[static_cast<size_t>(i)];
      const double taken =
          std::max(0.1, 1 - (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
      for (size_t j = 0; j < shadow.size(); ++j) shadow[j] += taken * (reference.p[j] - shadow[j]);
    }
  }
  const auto expect_near = [&](bool averaged) {
    for (int32_t i = 0; i < 4; ++i) {
      const auto values = store.value(i).f32_span();
      const auto at = static_cast<size_t>(i);
      for (size_t j = 0; j < values.size(); ++j) {
        const double expected = averaged ? average[at][j] : references[at].p[j];
        EXPECT_NEAR(static_cast<double>(values[j]), expected, 1e-4 * (std::abs(expected) + 0.01));
      }
    }
  };
  expect_near(false);
  optimizer.swap_average();
  expect_near(true);
  optimizer.swap_average();
  expect_near(false);
}

TEST(Optimizer, PaddingStaysZeroAndMemoryIsAsPlanned) {
  graph::ParameterStore store = make_store();
  ThreadPool pool(1);
  for (const bool muon : {false, true}) {
    OptimizerOptions options;
    options.muon = muon;
    options.ema = 0.5F;
    Optimizer optimizer(options, OptimizerShare::all(store), store, pool);
    EXPECT_EQ(optimizer.allocated_bytes(),
              Optimizer::planned_bytes(options, OptimizerShare::all(store), store));
    // Every moment is a state of the checkpoint: two a parameter for AdamW, one for Muon.
    size_t floats = 0;
    for (const auto& state : optimizer.states()) floats += state.values.size();
    EXPECT_GE(floats, static_cast<size_t>(store.count()) * (muon ? 2 : 3) - (muon ? 47 : 0));
  }
}

TEST(Optimizer, MuonTurnsAMatrixTowardsOrthogonal) {
  graph::ParameterStore store = make_store();
  ThreadPool pool(1);
  OptimizerOptions options;
  options.muon = true;
  options.weight_decay = 0;
  options.clip = 0;
  Optimizer optimizer(options, OptimizerShare::all(store), store, pool);
  const auto before =
      std::vector<float>(store.value(0).f32_span().begin(), store.value(0).f32_span().end());
  fill_gradients(store, 0);
  optimizer.step(0, 0.1);
  // The update is 0.1 · 0.2 · √7 times a nearly semi-orthogonal 5 × 7 matrix.
  const double scale = 0.1 * 0.2 * std::sqrt(7.0);
  double squares = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    squares += std::pow(static_cast<double>(store.value(0).f32_span()[i] - before[i]) / scale, 2);
  }
  EXPECT_NEAR(std::sqrt(squares / 5), 1, 0.25);
}

}  // namespace
}  // namespace quern::train
