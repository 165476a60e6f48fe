#include "quern/kernels/cpu/machine.h"

#include <gtest/gtest.h>

namespace quern::kernels::cpu {
namespace {

TEST(Machine, MeasuresWhatAProcessorCanDo) {
  ThreadPool pool(2);
  const Context context(pool);
  const double one = measure_gflops(context, true, 0.01);
  const double all = measure_gflops(context, false, 0.01);
  EXPECT_GT(one, 0.1);
  EXPECT_LT(one, 2000);
  // A busy machine may give two threads no more than one; never much less.
  EXPECT_GT(all, one * 0.4);
  const double read = measure_read(context, true, size_t{1} << 24);
  EXPECT_GT(read, 0.01);
  EXPECT_LT(read, 5000);
}

}  // namespace
}  // namespace quern::kernels::cpu
