#include "quern/base/thread_pool.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace quern {
namespace {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// The vendor GEMM may bring an OpenMP runtime, whichever it was built with; our pool is the only
// source of parallelism. The symbol is looked up, because a build without that library has none.
void use_one_openmp_thread() {
  thread_local bool done = false;
  if (done) return;
  done = true;
  if (void* symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads")) {
    reinterpret_cast<void (*)(int)>(symbol)(1);
  }
}

// Spins until ready() or the time is over.
template <typename Ready>
bool spin(std::chrono::nanoseconds time, Ready ready) {
  if (ready()) return true;
  if (time.count() == 0) return false;
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace

// A job is open from its publication until the caller has found no index left. Workers join an
// open job by counting themselves in; the caller waits only for those who joined, so a sleeping
// worker never delays a short job. All of this is one word:
//   bit 0: open, bit 1: stop, bits 2..11: workers inside, bits 12..31: generation.
// A generation that wraps around can only make a worker miss a job, which the others then do.
struct ThreadPool::Impl {
  static constexpr uint32_t kOpen = 1;
  static constexpr uint32_t kStop = 2;
  static constexpr uint32_t kOneInside = 4;
  static constexpr uint32_t kInside = 0xFFC;
  static constexpr uint32_t kOneGeneration = 0x1000;
  static constexpr int kMaxThreads = 1000;

  struct Here {
    const Impl* pool = nullptr;
    int worker = 0;
  };
  static thread_local Here here;

  alignas(64) std::atomic<uint32_t> state{0};
  alignas(64) std::atomic<size_t> next{0};
  alignas(64) std::atomic<uint32_t> left{0};  // changes when the last worker leaves a closed job
  alignas(64) const FunctionRef<void(size_t, int)>* task = nullptr;
  size_t count = 0;
  std::atomic<bool> failed{false};
  std::exception_ptr error;
  std::mutex caller;
  std::chrono::nanoseconds spin_time{0};
  std::vector<std::thread> workers;

  void run_indices(int worker) {
    const Here before = here;
    here = {this, worker};
    try {
      for (;;) {
        const size_t index = next.fetch_add(1, std::memory_order_relaxed);
        if (index >= count) break;
        (*task)(index, worker);
      }
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
      next.store(count, std::memory_order_relaxed);
    }
    here = before;
  }

  void work(int worker) {
    use_one_openmp_thread();
    uint32_t seen = 0;
    for (;;) {
      uint32_t now = 0;
      const auto fresh = [&] {
        now = state.load(std::memory_order_acquire);
        return (now & kStop) != 0 || ((now & kOpen) != 0 && (now & ~(kOneGeneration - 1)) != seen);
      };
      if (!spin(spin_time, fresh)) {
        state.wait(now, std::memory_order_acquire);
        continue;
      }
      if (now & kStop) return;
      if (!state.compare_exchange_strong(now, now + kOneInside, std::memory_order_acq_rel))
        continue;
      seen = now & ~(kOneGeneration - 1);
      run_indices(worker);
      const uint32_t was = state.fetch_sub(kOneInside);
      if ((was & kInside) == kOneInside && (was & kOpen) == 0) {
        left.fetch_add(1);
        left.notify_one();
      }
    }
  }

  void run_job(size_t job_count, const FunctionRef<void(size_t, int)>& job) {
    task = &job;
    count = job_count;
    next.store(0, std::memory_order_relaxed);
    const uint32_t generation = (state.load(std::memory_order_relaxed) & ~(kOneGeneration - 1));
    state.store((generation + kOneGeneration) | kOpen, std::memory_order_release);
    state.notify_all();
    run_indices(0);
    state.fetch_and(~kOpen);
    const auto empty = [&] { return (state.load() & kInside) == 0; };
    while (!spin(spin_time, empty)) {
      const uint32_t before = left.load();
      if (empty()) break;
      left.wait(before);
    }
  }
};

thread_local ThreadPool::Impl::Here ThreadPool::Impl::here;

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  const int hardware = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (threads <= 0) threads = hardware;
  threads = std::min(threads, Impl::kMaxThreads);
  // More threads than cores: spinning would only keep the working thread from its core.
  impl_->spin_time = std::chrono::microseconds(threads > hardware ? 0 : 50);
  impl_->workers.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int worker = 1; worker < threads; ++worker) {
      impl_->workers.emplace_back([impl = impl_.get(), worker] { impl->work(worker); });
    }
  } catch (const std::system_error&) {
    // The system grants fewer threads: go on with those that run, results do not depend on it.
  }
}

ThreadPool::~ThreadPool() {
  impl_->state.fetch_or(Impl::kStop);
  impl_->state.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::parallel_for(size_t count, FunctionRef<void(size_t index, int worker)> task) {
  if (count == 0) return;
  if (Impl::here.pool == impl_.get()) {
    for (size_t index = 0; index < count; ++index) task(index, Impl::here.worker);
    return;
  }
  use_one_openmp_thread();
  const std::lock_guard lock(impl_->caller);
  if (count == 1 || impl_->workers.empty()) {
    impl_->task = &task;
    impl_->count = count;
    impl_->next.store(0, std::memory_order_relaxed);
    impl_->run_indices(0);
  } else {
    impl_->run_job(count, task);
  }
  if (impl_->failed.exchange(false)) std::rethrow_exception(std::exchange(impl_->error, nullptr));
}

}  // namespace quern
