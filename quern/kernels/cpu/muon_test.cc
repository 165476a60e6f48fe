#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "quern/base/random.h"
#include "quern/kernels/cpu/optimizer.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats random_floats(int64_t count, uint64_t seed) {
  Random random(seed, Stream::kTest);
  Floats values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// The definition in float64, on a wide matrix: X ← aX + (b XXᵀ + c (XXᵀ)²) X, five times.
Doubles newton_schulz(Doubles x, size_t rows, size_t columns) {
  double norm = 0;
  for (const double v : x) norm += v * v;
  for (double& v : x) v /= std::sqrt(norm);
  const auto product = [](const Doubles& a, const Doubles& b, size_t m, size_t n, size_t k) {
    Doubles c(m * n);
    for (size_t i = 0; i < m; ++i) {
      for (size_t p = 0; p < k; ++p) {
        for (size_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + p] * b[p * n + j];
      }
    }
    return c;
  };
  for (int step = 0; step < 5; ++step) {
    Doubles xt(x.size());
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < columns; ++j) xt[j * rows + i] = x[i * columns + j];
    }
    const Doubles gram = product(x, xt, rows, rows, columns);
    Doubles polynomial = product(gram, gram, rows, rows, rows);
    for (size_t i = 0; i < gram.size(); ++i) {
      polynomial[i] = -4.7750 * gram[i] + 2.0315 * polynomial[i];
    }
    const Doubles change = product(polynomial, x, rows, columns, rows);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 3.4445 * x[i] + change[i];
  }
  return x;
}

struct State {
  Floats parameter, momentum;
};

State run(int64_t rows, int64_t columns, const MuonStep& step, int threads) {
  const Floats gradient = random_floats(rows * columns, 1);
  State state{random_floats(rows * columns, 2), random_floats(rows * columns, 3)};
  ThreadPool pool(threads);
  const Buffer scratch(muon_scratch(rows, columns));
  muon(pool, step, 0.1F, rows, columns, gradient.data(), state.parameter.data(),
       state.momentum.data(), scratch.data());
  return state;
}

TEST(Muon, IsTheDefinition) {
  const std::pair<int64_t, int64_t> shapes[] = {{7, 19}, {19, 7}, {16, 16}, {1, 5}, {40, 130}};
  for (const auto& [rows, columns] : shapes) {
    for (const bool nesterov : {false, true}) {
      MuonStep step;
      step.learning_rate = 0.02F;
      step.gradient_scale = 0.5F;
      step.nesterov = nesterov;
      const State got = run(rows, columns, step, 1);
      // The same in float64; a tall matrix is transposed, updated, transposed back.
      const Floats gradient = random_floats(rows * columns, 1);
      const Floats parameter = random_floats(rows * columns, 2);
      const Floats momentum = random_floats(rows * columns, 3);
      const bool tall = rows > columns;
      Doubles x(gradient.size());
      const auto place = [&](size_t i) {
        const auto c = static_cast<size_t>(columns);
        return tall ? i % c * static_cast<size_t>(rows) + i / c : i;
      };
      for (size_t i = 0; i < x.size(); ++i) {
        const double g = 0.5 * gradient[i];
        const double m = 0.95 * momentum[i] + 0.05 * g;
        EXPECT_NEAR(got.momentum[i], m, 1e-6);
        x[place(i)] = nesterov ? 0.05 * g + 0.95 * m : m;
      }
      x = newton_schulz(x, static_cast<size_t>(std::min(rows, columns)),
                        static_cast<size_t>(std::max(rows, columns)));
      const double scale = 0.02 * 0.2 * std::sqrt(static_cast<double>(std::max(rows, columns)));
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = parameter[i] * (1 - 0.02 * 0.1) - scale * x[place(i)];
        EXPECT_NEAR(got.parameter[i], want, 1e-5) << rows << "x" << columns << " at " << i;
      }
    }
  }
}

TEST(Muon, SameBitsAtAnyThreadCount) {
  MuonStep step;
  step.learning_rate = 0.1F;
  const State one = run(100, 70, step, 1);
  for (const int threads : {2, 3}) {
    const State other = run(100, 70, step, threads);
    EXPECT_EQ(0, std::memcmp(one.parameter.data(), other.parameter.data(),
                             one.parameter.size() * sizeof(float)));
  }
}

TEST(Muon, NoGradientIsNoUpdate) {
  Floats gradient(12), parameter(12, 1.0F), momentum(12);
  ThreadPool pool(1);
  const Buffer scratch(muon_scratch(3, 4));
  MuonStep step;
  step.learning_rate = 0.1F;
  muon(pool, step, 0, 3, 4, gradient.data(), parameter.data(), momentum.data(), scratch.data());
  EXPECT_EQ(parameter, Floats(12, 1.0F));
}

}  // namespace
}  // namespace quern::kernels::cpu
