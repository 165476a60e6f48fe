#pragma once

#include <string>

#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// What this machine can do, measured: the yardstick of every benchmark.
struct Machine {
  std::string isa;
  int threads = 1;
  double gflops_one = 0, gflops_all = 0;                // fused multiply-adds on registers, 10⁹/s
  double read_gb_per_s_one = 0, read_gb_per_s_all = 0;  // from memory, 10⁹ bytes/s
};

/// Peak of all threads of the pool (or of one), in 10⁹ floating-point operations a second: the best
/// of several short runs of independent multiply-adds. `seconds` is about how long it takes.
double measure_gflops(const Context& context, bool one_thread, double seconds = 0.03);

/// Bytes read a second, 10⁹, from a buffer that no cache holds (`bytes` long).
double measure_read(const Context& context, bool one_thread, size_t bytes = size_t{1} << 29);

/// All of it, about a second.
Machine measure_machine(const Context& context);

}  // namespace quern::kernels::cpu
