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
/// Whether a signal came since the outermost guard was made; stays true after it is gone, so that
/// the caller can still say so.
bool interrupted();

}  // namespace quern
