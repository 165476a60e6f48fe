#include "quern/explain/pair_sampler.h"

#include <algorithm>
#include <limits>

#include "quern/explain/combinatorics.h"

namespace quern::explain {

PairStratum::PairStratum(size_t players, size_t size, uint64_t seed)
    : players_(players),
      size_(size),
      pairs_(choose(players, size) / (2 * size == players ? 2 : 1)),
      random_(seed, Stream::kCoalition, size),
      flags_(players) {}

double PairStratum::load() const {
  return static_cast<double>(drawn()) * (2 * size_ == players_ ? 2 : 1);
}

void PairStratum::draw(Coalitions& coalitions) {
  const auto complement = [](uint8_t flag) { return static_cast<uint8_t>(1 - flag); };
  for (;;) {
    random_subset(size_, random_, flags_);
    // Of two halves, the one that holds player 0 stands for both.
    if (2 * size_ == players_ && flags_[0] == 0)
      std::ranges::transform(flags_, flags_.begin(), complement);
    if (seen_.emplace(flags_.begin(), flags_.end()).second) break;
  }
  coalitions.add(flags_);
  std::ranges::transform(flags_, coalitions.add().begin(), complement);
}

PairSampler::PairSampler(size_t players, uint64_t seed) {
  for (size_t size = 1; 2 * size <= players; ++size) strata_.emplace_back(players, size, seed);
}

void PairSampler::draw(size_t pairs, Coalitions& coalitions) {
  for (size_t done = drawn(); done < pairs && !exhausted(); ++done) {
    const auto next = std::ranges::min_element(strata_, {}, [](const PairStratum& s) {
      return s.exhausted() ? std::numeric_limits<double>::infinity() : s.load();
    });
    next->draw(coalitions);
  }
}

size_t PairSampler::drawn() const {
  size_t sum = 0;
  for (const PairStratum& stratum : strata_) sum += stratum.drawn();
  return sum;
}

bool PairSampler::exhausted() const {
  return std::ranges::all_of(strata_, [](const PairStratum& s) { return s.exhausted(); });
}

}  // namespace quern::explain
