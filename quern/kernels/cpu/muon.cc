#include <algorithm>
#include <cmath>

#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/cpu/optimizer.h"
#include "quern/kernels/cpu/parallel.h"
#include "quern/kernels/muon_products.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu {
namespace {

using muon::apply_product;
using muon::gram_product;
using muon::kA;
using muon::kB;
using muon::kC;
using muon::kSteps;
using muon::square_product;

// Where everything stands in the scratch, in floats.
struct Layout {
  int64_t size, side;  // of X and of its Gram matrix
  size_t x, next, gram, square, rest;
};
Layout layout(int64_t rows, int64_t columns) {
  Layout at{};
  at.size = rows * columns;
  at.side = std::min(rows, columns);
  const auto floats = [](int64_t count) {
    return Buffer::align(static_cast<size_t>(count) * sizeof(float));
  };
  at.x = 0;
  at.next = at.x + floats(at.size);
  at.gram = at.next + floats(at.size);
  at.square = at.gram + floats(at.side * at.side);
  at.rest = at.square + floats(at.side * at.side);
  return at;
}

}  // namespace

size_t muon_scratch(int64_t rows, int64_t columns) {
  const Layout at = layout(rows, columns);
  return at.rest +
         std::max({gemm_scratch(gram_product(rows, columns)), gemm_scratch(square_product(at.side)),
                   gemm_scratch(apply_product(rows, columns)), sum_of_squares_scratch(at.size)});
}

void muon(const Context& context, const MuonStep& step, float weight_decay, int64_t rows,
          int64_t columns, const float* gradient, float* parameter, float* momentum,
          std::byte* scratch) {
  const Layout at = layout(rows, columns);
  float* x = reinterpret_cast<float*>(scratch + at.x);
  float* next = reinterpret_cast<float*>(scratch + at.next);
  float* gram = reinterpret_cast<float*>(scratch + at.gram);
  float* square = reinterpret_cast<float*>(scratch + at.square);
  std::byte* rest = scratch + at.rest;

  // As torch.optim.Muon: m += (1 - β)(g - m); the update is m, or g + β(m - g) with Nesterov.
  for_chunks(context, at.size, kTaskElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i] * step.gradient_scale;
      momentum[i] += (1 - step.momentum) * (g - momentum[i]);
      x[i] = step.nesterov ? g + step.momentum * (momentum[i] - g) : momentum[i];
    }
  });
  const double norm = std::sqrt(sum_of_squares(context, x, at.size, rest));
  const auto normalise = static_cast<float>(1 / std::max(norm, 1e-7));
  for_chunks(context, at.size, kTaskElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] *= normalise;
  });

  Gemm gram_of = gram_product(rows, columns);
  Gemm square_of = square_product(at.side);
  Gemm apply = apply_product(rows, columns);
  gram_of.c = gram;
  square_of.a = square_of.b = gram;
  square_of.c = square;
  for (int i = 0; i < kSteps; ++i) {
    gram_of.a = gram_of.b = x;
    gemm(context, gram_of, rest);
    gemm(context, square_of, rest);
    // X·(a + b G + c G²): the polynomial takes the place of the square.
    for_chunks(context, at.side, rows_per_task(at.side), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        float* row = square + r * at.side;
        for (int64_t c = 0; c < at.side; ++c) row[c] = kB * gram[r * at.side + c] + kC * row[c];
        row[r] += kA;
      }
    });
    apply.a = rows > columns ? x : square;
    apply.b = rows > columns ? square : x;
    apply.c = next;
    gemm(context, apply, rest);
    std::swap(x, next);
  }

  const float keep = 1 - step.learning_rate * weight_decay;
  const float rate =
      step.learning_rate * 0.2F * std::sqrt(static_cast<float>(std::max(rows, columns)));
  for_chunks(context, at.size, kTaskElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) parameter[i] = parameter[i] * keep - rate * x[i];
  });
}

}  // namespace quern::kernels::cpu
