#include "quern/explain/owen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <queue>

namespace quern::explain {
namespace {

/// A group in a context: the value without it and with it.
struct Part {
  size_t node;
  double weight;
  std::vector<uint8_t> context;  // without the group
  double without, with;
  size_t order;  // of arrival, for ties

  double worth() const { return weight * (with - without); }
  bool operator<(const Part& other) const {
    const double a = std::abs(worth()), b = std::abs(other.worth());
    return a != b ? a < b : order > other.order;
  }
};

class Splitter {
 public:
  Splitter(Evaluator& evaluator, const PartitionTree& tree, Attribution& result)
      : evaluator_(evaluator), tree_(tree), result_(result) {
    push(tree.root, 1, std::vector<uint8_t>(evaluator.players(), 0), evaluator.base(),
         evaluator.value());
  }

  void run() {
    while (!waiting_.empty() && evaluator_.left() >= 2) split_some();
    while (!waiting_.empty()) {
      const Part part = waiting_.top();
      waiting_.pop();
      const auto& players = tree_.nodes[part.node].players;
      largest_left_ = std::max(largest_left_, players.size());
      for (const size_t player : players) {
        result_.phi[player] += part.worth() / static_cast<double>(players.size());
      }
    }
  }
  /// The players of the largest group that was not split.
  size_t largest_left() const { return largest_left_; }

 private:
  void push(size_t node, double weight, std::vector<uint8_t> context, double without, double with) {
    Part part{node, weight, std::move(context), without, with, order_++};
    if (tree_.nodes[node].leaf()) {
      result_.phi[tree_.nodes[node].players.front()] += part.worth();
    } else {
      waiting_.push(std::move(part));
    }
  }

  std::vector<uint8_t> with_group(std::vector<uint8_t> context, size_t node) const {
    for (const size_t player : tree_.nodes[node].players) context[player] = 1;
    return context;
  }

  /// Splits the parts of most worth, a batch at a time. A part of no worth may hide opposite ones:
  /// it is split as well, last.
  void split_some() {
    const size_t most = std::min({evaluator_.left() / 2, kTogether, waiting_.size()});
    std::vector<Part> parts;
    Coalitions coalitions(evaluator_.players());
    for (size_t i = 0; i < most; ++i) {
      parts.push_back(waiting_.top());
      waiting_.pop();
      const auto& node = tree_.nodes[parts.back().node];
      coalitions.add(with_group(parts.back().context, node.left));
      coalitions.add(with_group(parts.back().context, node.right));
    }
    const std::vector<double> values = evaluator_(coalitions);
    for (size_t i = 0; i < parts.size(); ++i) {
      const Part& part = parts[i];
      const auto& node = tree_.nodes[part.node];
      const double left = values[2 * i], right = values[2 * i + 1], half = part.weight / 2;
      push(node.left, half, part.context, part.without, left);
      push(node.left, half, with_group(part.context, node.right), right, part.with);
      push(node.right, half, part.context, part.without, right);
      push(node.right, half, with_group(part.context, node.left), left, part.with);
    }
  }

  static constexpr size_t kTogether = 32;
  Evaluator& evaluator_;
  const PartitionTree& tree_;
  Attribution& result_;
  std::priority_queue<Part> waiting_;
  size_t order_ = 0, largest_left_ = 0;
};

}  // namespace

Attribution owen(Evaluator& evaluator, const PartitionTree& tree) {
  Attribution result = evaluator.start();
  Splitter splitter(evaluator, tree, result);
  splitter.run();
  result.evaluations = evaluator.used();
  result.exact = result.converged = splitter.largest_left() == 0;
  if (!result.exact) {
    result.note = fmt::format(
        "the evaluations ended before the tree did: groups of up to {} players share their worth "
        "evenly; about {} evaluations split {} players to the end",
        splitter.largest_left(), 2 * (result.phi.size() * result.phi.size() - 1) / 3 + 2,
        result.phi.size());
  }
  return result;
}

}  // namespace quern::explain
