#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <set>

#include "quern/graph/op_testing.h"
#include "quern/kernels/cpu/dispatch.h"

// Walks the op table: every op against its reference, each instruction set against the best one,
// and finite differences of the reference against both backward passes.
namespace quern::graph::testing {
namespace {

class OpTable : public ::testing::TestWithParam<OpCase> {
 protected:
  ThreadPool pool_{2};
};

TEST_P(OpTable, KernelMatchesReference) {
  const OpCase& c = GetParam();
  Bench bench(c, pool_);
  const std::vector<Tensor> want = bench.forward(Column::kReference);
  const std::vector<Tensor> got = bench.forward(Column::kCpu);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    expect_close(got[i], want[i], c.tolerance, "result " + std::to_string(i));
  if (bench.differentiable() == 0) return;
  // Added to ones that are then taken off, the gradients must be those that overwriting gives.
  const auto want_grads = bench.backward(want, Column::kReference, false);
  for (const Column column : {Column::kCpu, Column::kReference}) {
    for (const bool accumulate : {false, true}) {
      const auto got_grads = bench.backward(want, column, accumulate);
      for (size_t i = 0; i < want_grads.size(); ++i) {
        expect_close(got_grads[i], want_grads[i], c.tolerance,
                     std::string("gradient of ") + std::string(op_entry(c.op).input_names[i]) +
                         (column == Column::kReference ? ", reference" : "") +
                         (accumulate ? ", accumulated" : ""));
      }
    }
  }
}

TEST_P(OpTable, SameOnEveryInstructionSet) {
  const OpCase& c = GetParam();
  Bench bench(c, pool_);
  const std::vector<Tensor> want = bench.forward(Column::kCpu);
  const auto want_grads = bench.differentiable() != 0 ? bench.backward(want, Column::kCpu, false)
                                                      : std::vector<Tensor>{};
  for (const std::string_view isa : kernels::cpu::available_isas()) {
    SCOPED_TRACE(isa);
    kernels::cpu::force_isa(isa);
    const std::vector<Tensor> got = bench.forward(Column::kCpu);
    for (size_t i = 0; i < want.size(); ++i)
      expect_close(got[i], want[i], 2 * c.tolerance, "result " + std::to_string(i));
    if (want_grads.empty()) continue;
    const auto got_grads = bench.backward(want, Column::kCpu, false);
    for (size_t i = 0; i < want_grads.size(); ++i)
      expect_close(got_grads[i], want_grads[i], 2 * c.tolerance, "gradient " + std::to_string(i));
  }
  kernels::cpu::force_isa("");
}

TEST_P(OpTable, LossAndGradientAtOnceAreThoseOfTwo) {
  const OpCase& c = GetParam();
  Bench bench(c, pool_);
  if (!bench.has_both()) return;
  const std::vector<Tensor> want = bench.forward(Column::kCpu);
  const std::vector<Tensor> want_grads = bench.backward(want, Column::kCpu, false);
  for (const bool in_place : {false, true}) {
    for (const Column column : {Column::kReference, Column::kCpu}) {
      const float tolerance = column == Column::kCpu ? 0 : c.tolerance;
      const Bench::Both got = bench.both(column, in_place);
      for (size_t i = 0; i < want.size(); ++i)
        expect_close(got.outputs[i], want[i], tolerance, "result " + std::to_string(i));
      for (size_t i = 0; i < want_grads.size(); ++i)
        expect_close(got.grads[i], want_grads[i], tolerance, "gradient " + std::to_string(i));
    }
  }
}

/// Central differences of the reference: h balances h² of truncation against float32 rounding of
/// the outputs over h.
TEST_P(OpTable, FiniteDifferences) {
  const OpCase& c = GetParam();
  const OpEntry& entry = op_entry(c.op);
  Bench bench(c, pool_);
  if (bench.differentiable() == 0) return;
  constexpr double kStep = 4e-3;
  for (size_t flow = 0; flow <= kMaxOutputs; ++flow) {
    // All outputs together, then each alone where there is more than one to take gradients from.
    if (flow > 0) {
      if (std::popcount(entry.differentiable_outputs) < 2 || flow > 2) break;
      bench.flow_only(flow - 1);
    }
    const auto outputs = bench.forward(Column::kReference);
    const auto grads = bench.backward(outputs, Column::kReference, false);
    for (size_t i = 0; i < bench.inputs.size(); ++i) {
      if ((bench.differentiable() >> i & 1U) == 0) continue;
      const auto values = bench.inputs[i].floats();
      double largest = 0.1;
      for (const float g : grads[i].floats()) {
        ASSERT_TRUE(std::isfinite(g)) << entry.input_names[i];
        largest = std::max(largest, std::fabs(static_cast<double>(g)));
      }
      // Large inputs: a sample of elements, prime steps apart.
      const size_t stride = values.size() > 400 ? values.size() / 97 | 1U : 1;
      for (size_t k = 0; k < values.size(); k += stride) {
        const float x = values[k];
        values[k] = static_cast<float>(static_cast<double>(x) + kStep);
        const double up_at = static_cast<double>(values[k]);
        const double up = bench.weighted_sum();
        values[k] = static_cast<float>(static_cast<double>(x) - kStep);
        const double slope = (up - bench.weighted_sum()) / (up_at - static_cast<double>(values[k]));
        values[k] = x;
        ASSERT_NEAR(static_cast<double>(grads[i].floats()[k]), slope, 2e-3 * largest)
            << "gradient of " << entry.input_names[i] << ", element " << k << ", flow " << flow;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, OpTable, ::testing::ValuesIn(op_cases()), parameter_name);

TEST(OpTableEntries, AreComplete) {
  std::set<OpCode> with_case;
  std::map<OpCode, uint32_t> seen;  // inputs that some case gives, and that some case leaves out
  std::map<OpCode, uint32_t> left_out;
  for (const OpCase& c : op_cases()) {
    with_case.insert(c.op);
    for (size_t i = 0; i < op_entry(c.op).max_inputs; ++i) {
      const bool given = i < c.inputs.size() && c.inputs[i].fill != InputSpec::Fill::kAbsent;
      (given ? seen : left_out)[c.op] |= 1U << i;
    }
  }
  for (size_t i = 0; i < static_cast<size_t>(OpCode::kCount); ++i) {
    const OpEntry& entry = op_table()[i];
    SCOPED_TRACE(i);
    ASSERT_EQ(static_cast<size_t>(entry.code), i) << "an OpCode without an entry";
    SCOPED_TRACE(entry.name);
    EXPECT_FALSE(entry.name.empty());
    EXPECT_TRUE(entry.infer && entry.saved && entry.forward_scratch && entry.backward_scratch);
    EXPECT_TRUE(entry.forward && entry.reference_forward && entry.cuda.forward);
    if (entry.kind == OpKind::kDifferentiable) {
      EXPECT_TRUE(entry.backward && entry.reference_backward && entry.differentiable_inputs)
          << "a differentiable op without a backward";
      EXPECT_TRUE(entry.cuda.backward) << "a differentiable op without a backward for CUDA";
    }
    if (entry.forward_backward != nullptr) {
      EXPECT_TRUE(entry.reference_forward_backward && entry.cuda.forward_backward &&
                  entry.forward_backward_scratch && entry.in_place_gradient >= 0);
    }
    EXPECT_TRUE(with_case.contains(entry.code)) << "an op without a test case";
    const uint32_t all = (1U << entry.max_inputs) - 1;
    EXPECT_EQ(seen[entry.code], all) << "an input that no case gives";
    EXPECT_EQ(left_out[entry.code], all & ~entry.required_inputs)
        << "an optional input that no case leaves out";
    for (size_t k = 0; k < entry.max_inputs; ++k) EXPECT_FALSE(entry.input_names[k].empty());
  }
}

}  // namespace
}  // namespace quern::graph::testing
