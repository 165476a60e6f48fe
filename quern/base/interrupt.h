#pragma once

namespace quern {

/// While one lives, SIGINT and SIGTERM set a flag instead of ending the process; a second signal
/// ends it at once. Long loops ask `interrupted()` at a safe point, save, and return.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};
bool interrupted();

}  // namespace quern
