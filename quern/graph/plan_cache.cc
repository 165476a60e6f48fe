#include "quern/graph/plan_cache.h"

#include <algorithm>

namespace quern::graph {

Executor& PlanCache::get(const PlanKey& key, FunctionRef<Executor()> make) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().executor;
  }
  entries_.push_front({key, make()});
  bytes_ += entries_.front().executor.allocated_bytes();
  while (bytes_ > capacity_ && entries_.size() > 1) {
    bytes_ -= entries_.back().executor.allocated_bytes();
    entries_.pop_back();
  }
  return entries_.front().executor;
}

bool PlanCache::contains(const PlanKey& key) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.key == key; });
}

void PlanCache::clear() {
  entries_.clear();
  bytes_ = 0;
}

}  // namespace quern::graph
