// Nodes of a container that are out of use.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace holdfast::engine {

/// Most locks are held for an instant: the node of the one before serves the next, with the memory
/// of what is in it. Without, taking a lock and giving it back asks the allocator twice as often.
template <typename Container>
class Spares {
 public:
  using Node = typename Container::node_type;

  void Keep(Node node) {
    if (nodes_.size() < kMost) nodes_.push_back(std::move(node));
  }
  /// An empty one, if there is none.
  Node Take() {
    if (nodes_.empty()) return Node();
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    return node;
  }

 private:
  static constexpr std::size_t kMost = 64;
  std::vector<Node> nodes_;
};

}  // namespace holdfast::engine
