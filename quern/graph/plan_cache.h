#pragma once

#include <cstddef>
#include <cstdint>
#include <list>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"

namespace quern::graph {

/// What makes one plan differ from another of the same model: what it is for (the caller's own
/// numbering), and its extents, which callers round up to buckets so that plans stay few.
struct PlanKey {
  uint32_t use = 0;
  int64_t batch = 0, length = 0;
  bool operator==(const PlanKey&) const = default;
};

/// Executors by key, the least recently used of them dropped when their memory exceeds a bound.
class PlanCache {
 public:
  explicit PlanCache(size_t capacity_bytes) : capacity_(capacity_bytes) {}

  /// The executor of that key, from make() when there is none yet. A hit allocates nothing. The
  /// newest stays even when it alone exceeds the bound. The reference holds until another get().
  Executor& get(const PlanKey& key, FunctionRef<Executor()> make);

  bool contains(const PlanKey& key) const;
  size_t size() const { return entries_.size(); }
  /// Bytes of all arenas held.
  size_t bytes() const { return bytes_; }
  void clear();

 private:
  struct Entry {
    PlanKey key;
    Executor executor;
  };
  size_t capacity_;
  size_t bytes_ = 0;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace quern::graph
