#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace quern::explain {

/// Players grouped by a binary tree: neighbours in a text, patches of a picture, columns that go
/// together. Groups join and leave a game as one.
struct PartitionTree {
  static constexpr size_t kNone = static_cast<size_t>(-1);
  struct Node {
    size_t left = kNone, right = kNone;  // nodes; none of a leaf
    std::vector<size_t> players;
    bool leaf() const { return left == kNone; }
  };
  std::vector<Node> nodes;
  size_t root = kNone;  // none where there is no player

  size_t add_leaf(size_t player);
  size_t join(size_t left, size_t right);
};

/// 0 … players - 1 in their order, halved again and again: depth ⌈log2 players⌉.
PartitionTree sequence_tree(size_t players);
/// Patches (rows, columns) in row order, the longer side halved.
PartitionTree grid_tree(size_t rows, size_t columns);
/// Given groups, each halved in its order, under a tree that halves the groups in theirs. Together
/// they hold each of 0 … players - 1 once, else an Error.
PartitionTree group_tree(std::span<const std::vector<size_t>> groups, size_t players);

}  // namespace quern::explain
