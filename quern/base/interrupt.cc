#include "quern/base/interrupt.h"

#include <signal.h>

#include <atomic>
#include <mutex>

namespace quern {
namespace {

// A signal handler can reach only globals.
std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);
std::mutex guards;
int depth = 0;
struct sigaction before_interrupt;
struct sigaction before_terminate;

void on_signal(int number) {
  if (!flag.exchange(true)) return;
  // The signal is blocked in its own handler: it ends the process when this returns.
  signal(number, SIG_DFL);
  raise(number);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  const std::lock_guard lock(guards);
  if (depth++ > 0) return;
  flag = false;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &before_interrupt);
  sigaction(SIGTERM, &action, &before_terminate);
}

InterruptGuard::~InterruptGuard() {
  const std::lock_guard lock(guards);
  if (--depth > 0) return;
  sigaction(SIGINT, &before_interrupt, nullptr);
  sigaction(SIGTERM, &before_terminate, nullptr);
}

bool interrupted() { return flag.load(std::memory_order_relaxed); }

}  // namespace quern
