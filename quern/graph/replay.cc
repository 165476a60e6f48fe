#include "quern/graph/replay.h"

namespace quern::graph {

void Replay::run(bool accumulate, FunctionRef<void()> queue_work) {
  Kind& kind = kinds_[accumulate ? 1 : 0];
  if (!capture_ || !kind.warm) {
    queue_work();
    kind.warm = true;
    return;
  }
  if (kind.graph == nullptr) {
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
    kind.graph = driver_.end_capture();
  }
  kind.graph->launch();
}

}  // namespace quern::graph
