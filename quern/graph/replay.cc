#include "quern/graph/replay.h"

namespace quern::graph {

void Replay::run(Kind kind, FunctionRef<void()> queue_work) {
  Kept& kept = kinds_[(kind.accumulates ? 1U : 0U) | (kind.followed ? 2U : 0U)];
  if (!capture_ || !kept.warm) {
    queue_work();
    kept.warm = true;
    return;
  }
  if (kept.graph == nullptr) {
    driver_.begin_capture();
    try {
      queue_work();
    } catch (...) {
      // The queue must not stay in capture; what it recorded is dropped, and so is a second error.
      try {
        driver_.end_capture();
      } catch (const DeviceError&) {
        capture_ = false;
      }
      throw;
    }
    kept.graph = driver_.end_capture();
  }
  kept.graph->launch();
}

}  // namespace quern::graph
