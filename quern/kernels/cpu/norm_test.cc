#include "quern/kernels/cpu/norm.h"

#include <numeric>

#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/norm.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu::testing {
namespace {

struct Case {
  int64_t rows, width;
  bool rms, residual, weight, bias;
  std::string text() const {
    return std::to_string(rows) + "x" + std::to_string(width) + " rms" + std::to_string(rms) +
           " residual" + std::to_string(residual) + " weight" + std::to_string(weight) + " bias" +
           std::to_string(bias);
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [rows, width] :
       {std::pair<int64_t, int64_t>{1, 1}, {2, 7}, {5, 64}, {131, 129}, {2100, 33}, {3, 20001}}) {
    for (int bits = 0; bits < 16; ++bits) {
      all.push_back(
          {rows, width, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0});
    }
  }
  return all;
}

struct Data {
  Floats x, residual, weight, bias;
  Norm norm;
  explicit Data(const Case& c)
      : x(normal_floats(c.rows * c.width, 1)),
        residual(normal_floats(c.rows * c.width, 2)),
        weight(normal_floats(c.width, 3)),
        bias(normal_floats(c.width, 4)) {
    for (float& value : x) value += 0.5F;
    norm = {c.rows,
            c.width,
            c.rms,
            1e-5F,
            x.data(),
            c.residual ? residual.data() : nullptr,
            c.weight ? weight.data() : nullptr,
            c.bias ? bias.data() : nullptr};
  }
};

TEST(Norm, ForwardMatchesTheReference) {
  for (const Case& c : cases()) {
    const Data data(c);
    Floats y(data.x.size()), sum = data.x, statistics(extent(2 * c.rows));
    reference::norm_forward(data.norm, y.data(), sum.data(), statistics.data());
    if (c.width == 1) statistics.assign(statistics.size(), 0);  // 1/σ of one number is 1/√ε or so
    expect_kernel(join(join(y, sum), statistics), 5e-6, c.text(), [&](const Context& context) {
      Floats got_y(y.size()), got_sum = data.x, got_statistics(statistics.size());
      Norm norm = data.norm;
      norm.x = got_sum.data();  // the sum is stored over x
      norm_forward(context, norm, got_y.data(), got_sum.data(),
                   c.width == 1 ? nullptr : got_statistics.data());
      return join(join(got_y, got_sum), got_statistics);
    });
  }
}

TEST(Norm, BackwardMatchesTheReference) {
  for (const Case& c : cases()) {
    if (c.residual || c.width == 1) continue;
    const Data data(c);
    const Floats dy = normal_floats(c.rows * c.width, 5), ds = normal_floats(c.rows * c.width, 6);
    const Floats dx0 = normal_floats(c.rows * c.width, 7), dw0 = normal_floats(c.width, 8);
    for (int bits = 0; bits < 16; ++bits) {
      const bool with_sum = bits & 1, accumulate_x = bits & 2, accumulate_parameters = bits & 4;
      const bool with_parameters = bits & 8;
      Floats dx = dx0, dw = dw0, db = dw0;
      reference::norm_backward(data.norm, dy.data(), with_sum ? ds.data() : nullptr, dx.data(),
                               accumulate_x, with_parameters ? dw.data() : nullptr,
                               with_parameters ? db.data() : nullptr, accumulate_parameters);
      const double tolerance = c.rows > 1000 ? 3e-5 : 1e-5;
      expect_kernel(join(join(dx, dw), db), tolerance, c.text(), [&](const Context& context) {
        Floats statistics(extent(2 * c.rows)), y(data.x.size());
        norm_forward(context, data.norm, y.data(), nullptr, statistics.data());
        // Without accumulation the gradient of the sum may lie where x_grad goes.
        Floats got_dx = with_sum && !accumulate_x ? ds : dx0, got_dw = dw0, got_db = dw0;
        const float* sum_grad = with_sum ? (accumulate_x ? ds.data() : got_dx.data()) : nullptr;
        Buffer scratch(norm_backward_scratch(c.rows, c.width));
        norm_backward(context, data.norm, statistics.data(), dy.data(), sum_grad, got_dx.data(),
                      accumulate_x, with_parameters ? got_dw.data() : nullptr,
                      with_parameters ? got_db.data() : nullptr, accumulate_parameters,
                      scratch.data());
        return join(join(got_dx, got_dw), got_db);
      });
    }
  }
}

TEST(Norm, ReferenceGradientsMeetFiniteDifferences) {
  constexpr int64_t kRows = 3, kWidth = 5;
  for (const bool rms : {false, true}) {
    const Norm norm{kRows, kWidth, rms, 1e-3F};
    std::vector<double> x = normal_doubles(15, 1), weight = normal_doubles(5, 2),
                        bias = normal_doubles(5, 3);
    const std::vector<double> dy = normal_doubles(15, 4);
    std::vector<double> y(15), dx(15), dw(5), db(5);
    const reference::NormInputs<double> in{x.data(), nullptr, weight.data(), bias.data()};
    const auto loss = [&] {
      reference::norm_forward<double>(norm, in, y.data(), nullptr, nullptr);
      return std::inner_product(y.begin(), y.end(), dy.begin(), 0.0);
    };
    reference::norm_backward<double>(norm, in, dy.data(), nullptr, dx.data(), false, dw.data(),
                                     db.data(), false);
    expect_near(dx, finite_differences(x, loss), "x");
    expect_near(dw, finite_differences(weight, loss), "weight");
    expect_near(db, finite_differences(bias, loss), "bias");
  }
}

// (1, 2, 3, 4): mean 5/2, variance 5/4, mean square 15/2.
TEST(Norm, KnownValues) {
  const double x[] = {1, 2, 3, 4};
  double y[4];
  reference::norm_forward<double>({1, 4, false, 0}, {x}, y, nullptr, nullptr);
  const double s = std::sqrt(1.25);
  expect_near(y, std::vector<double>{-1.5 / s, -0.5 / s, 0.5 / s, 1.5 / s}, "layer", 1e-14);
  reference::norm_forward<double>({1, 4, true, 0}, {x}, y, nullptr, nullptr);
  const double r = std::sqrt(7.5);
  expect_near(y, std::vector<double>{1 / r, 2 / r, 3 / r, 4 / r}, "rms", 1e-14);
}

}  // namespace
}  // namespace quern::kernels::cpu::testing
