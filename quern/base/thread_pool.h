#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace quern {

/// A reference to a callable, without allocation; valid while the callable lives.
template <typename Signature>
class FunctionRef;
template <typename Result, typename... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f)  // NOLINT: implicit, as for std::function
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(o))(static_cast<Args>(args)...);
        }) {}
  Result operator()(Args... args) const { return call_(object_, static_cast<Args>(args)...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

/// Persistent workers that spin briefly, then sleep. The calling thread is worker 0 and takes part.
/// Which worker runs which index is not fixed, so a task may depend on its index only: then results
/// are the same bits at any number of threads.
class ThreadPool {
 public:
  /// 0: one per hardware thread. Each worker sets its own OpenMP team to one thread (vendor GEMM).
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Runs task(index, worker) for every index in [0, count), returns when all are done. The first
  /// exception thrown by a task is rethrown here. Nested calls run inline. Allocates nothing.
  void parallel_for(size_t count, FunctionRef<void(size_t index, int worker)> task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
