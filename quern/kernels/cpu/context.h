#pragma once

#include "quern/base/thread_pool.h"
#include "quern/kernels/cpu/dispatch.h"

namespace quern::kernels::cpu {

/// What every CPU kernel is handed. Kernels split their work by shape only, never by the number of
/// threads, and sum partial results in a fixed tree: the same bits at any thread count. Making the
/// first one obeys QUERN_ISA (see dispatch.h) and may throw UsageError.
struct Context {
  explicit(false) Context(ThreadPool& threads) : pool(threads) { use_isa_of_environment(); }

  ThreadPool& pool;
};

}  // namespace quern::kernels::cpu
