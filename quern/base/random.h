#pragma once

#include <array>
#include <cstdint>

namespace quern {

/// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): a pure
/// function of counter and key, so a resumed or re-sharded run draws the same numbers.
using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;
PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key);

/// Names the consumer of a stream, so that no two draw the same numbers.
enum class Stream : uint32_t {
  kInitialisation = 1,
  kDropout,
  kDropPath,
  kBatch,
  kTokenDropout,
  kSampling,
  kSplit,
  kBootstrap,
  kAugment,
  kMix,
  kCoalition,
  kBackground,
  kMask,
  kTest = 1000,
};

/// A sequential view of one stream: (seed, stream, index) fix every number that follows.
class Random {
 public:
  Random(uint64_t seed, Stream stream, uint64_t index = 0);

  uint32_t next_u32();
  uint64_t next_u64();
  /// Uniform in [0, 1) with 53 bits.
  double uniform();
  /// Uniform in [0, bound), without modulo bias. bound > 0.
  uint64_t below(uint64_t bound);
  /// Standard normal (Box-Muller).
  double normal();

 private:
  PhiloxCounter counter_;
  PhiloxKey key_;
  PhiloxCounter block_{};
  int used_ = 4;
};

}  // namespace quern
