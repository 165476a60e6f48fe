#include "quern/explain/partition_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "quern/base/error.h"

namespace quern::explain {
namespace {

/// Joins subtrees in their order, halves first.
size_t halve(PartitionTree& tree, std::span<const size_t> subtrees) {
  if (subtrees.size() == 1) return subtrees.front();
  const size_t half = (subtrees.size() + 1) / 2;
  const size_t left = halve(tree, subtrees.first(half));
  return tree.join(left, halve(tree, subtrees.subspan(half)));
}

struct Window {
  size_t row, column, rows, columns;
};
size_t halve_window(PartitionTree& tree, const Window& w, size_t stride) {
  if (w.rows * w.columns == 1) return tree.add_leaf(w.row * stride + w.column);
  Window first = w, second = w;
  if (w.rows >= w.columns) {
    first.rows = (w.rows + 1) / 2;
    second.row += first.rows;
    second.rows -= first.rows;
  } else {
    first.columns = (w.columns + 1) / 2;
    second.column += first.columns;
    second.columns -= first.columns;
  }
  const size_t left = halve_window(tree, first, stride);
  return tree.join(left, halve_window(tree, second, stride));
}

}  // namespace

size_t PartitionTree::add_leaf(size_t player) {
  nodes.push_back({kNone, kNone, {player}});
  return root = nodes.size() - 1;
}

size_t PartitionTree::join(size_t left, size_t right) {
  Node node{left, right, nodes[left].players};
  node.players.insert(node.players.end(), nodes[right].players.begin(), nodes[right].players.end());
  nodes.push_back(std::move(node));
  return root = nodes.size() - 1;
}

PartitionTree sequence_tree(size_t players) {
  std::vector<size_t> all(players);
  std::iota(all.begin(), all.end(), size_t{0});
  return group_tree(std::vector<std::vector<size_t>>{all}, players);
}

PartitionTree grid_tree(size_t rows, size_t columns) {
  PartitionTree tree;
  if (rows * columns > 0) halve_window(tree, {0, 0, rows, columns}, columns);
  return tree;
}

PartitionTree group_tree(std::span<const std::vector<size_t>> groups, size_t players) {
  PartitionTree tree;
  std::vector<size_t> seen(players, 0), subtrees;
  for (const std::vector<size_t>& group : groups) {
    std::vector<size_t> leaves;
    for (const size_t player : group) {
      if (player < players) ++seen[player];
      leaves.push_back(tree.add_leaf(player));
    }
    if (!leaves.empty()) subtrees.push_back(halve(tree, leaves));
  }
  if (std::ranges::any_of(seen, [](size_t n) { return n != 1; }) ||
      tree.nodes.size() + (players == 0) < players) {
    throw Error("bad_groups", fmt::format("groups must hold each of {} players once", players),
                "give every player to one group");
  }
  if (!subtrees.empty()) tree.root = halve(tree, subtrees);
  return tree;
}

}  // namespace quern::explain
