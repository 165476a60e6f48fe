#pragma once

#include "quern/base/thread_pool.h"

namespace quern::kernels::cpu {

/// What every CPU kernel is handed. Kernels split their work by shape only, never by the number of
/// threads, and sum partial results in a fixed tree: the same bits at any thread count.
struct Context {
  ThreadPool& pool;
};

}  // namespace quern::kernels::cpu
