#include "quern/train/shards.h"

#include <algorithm>

namespace quern::train {
namespace {

using graph::ParameterGroup;

double distance(double a, size_t b) {
  const double d = a - static_cast<double>(b);
  return d < 0 ? -d : d;
}

}  // namespace

Shards::Range common(Shards::Range a, Shards::Range b) {
  const size_t begin = std::max(a.begin, b.begin);
  const size_t end = std::min(a.end, b.end);
  return begin < end ? Shards::Range{begin, end} : Shards::Range{};
}

Shards::Shards(const graph::ParameterStore& parameters, int ranks, bool whole_matrices) {
  const auto infos = parameters.parameters();
  std::vector<size_t> order(infos.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return infos[a].offset < infos[b].offset; });
  const size_t total = parameters.arena_floats();
  std::vector<size_t> cuts;  // where one owner may follow another
  for (size_t k = 0; k < order.size(); ++k) {
    const auto& info = infos[order[k]];
    const size_t end = k + 1 < order.size() ? infos[order[k + 1]].offset : total;
    for (size_t begin = info.offset; begin < end; begin += kUnit) {
      const bool whole = whole_matrices && info.group == ParameterGroup::kMatrix;
      if (begin == info.offset || !whole) cuts.push_back(begin);
      units_.push_back({{begin, std::min(begin + kUnit, end)}, static_cast<int>(order[k])});
    }
  }
  cuts.push_back(total);
  size_t begin = 0;
  for (int rank = 1; rank <= ranks; ++rank) {
    const double ideal = static_cast<double>(total) * rank / ranks;
    const size_t end = *std::min_element(cuts.begin(), cuts.end(), [&](size_t a, size_t b) {
      return distance(ideal, a) < distance(ideal, b);
    });
    owned_.push_back({begin, end});
    begin = end;
  }
}

}  // namespace quern::train
