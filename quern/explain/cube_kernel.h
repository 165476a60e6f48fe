#pragma once

#include <cstddef>
#include <vector>

namespace quern::explain {

/// A prior over the odd part of a game, v(S) - v(complement of S), on which alone Shapley values
/// depend: a Gaussian process with covariance r^h - r^(players - h) at Hamming distance h of two
/// coalitions, r = exp(-roughness / players). In the parity basis an interaction of order k has
/// variance ∝ tanh(roughness / (2 players))^k for odd k and none for even k, so that a small
/// roughness is linear regression. Since the covariance depends on distance alone, so do the
/// Shapley values of its columns, in closed form.
class CubeKernel {
 public:
  CubeKernel(size_t players, double roughness);

  /// Between coalitions that differ in `distance` players; 1 at 0.
  double covariance(size_t distance) const { return by_distance_[distance]; }
  /// Of the Shapley value of a player with v(T) - v(complement of T), by |T| and whether the player
  /// is in T; in units in which `covariance` is that of two such differences.
  double with_member(size_t size) const { return member_[size]; }
  double with_other(size_t size) const { return other_[size]; }
  /// The variance of a Shapley value before anything is known.
  double variance() const { return variance_; }

 private:
  std::vector<double> by_distance_;     // (players + 1)
  std::vector<double> member_, other_;  // (players + 1)
  double variance_ = 0;
};

}  // namespace quern::explain
