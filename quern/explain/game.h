#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace quern::explain {

/// A batch of coalitions (count, players): 1 where a player takes part, 0 where it is masked.
class Coalitions {
 public:
  explicit Coalitions(size_t players) : players_(players) {}

  size_t players() const { return players_; }
  size_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  std::span<const uint8_t> operator[](size_t index) const {
    return {flags_.data() + index * players_, players_};
  }

  /// Appends the coalition of nobody and returns it, to be filled before the next call.
  std::span<uint8_t> add();
  void add(std::span<const uint8_t> coalition);
  void clear();

 private:
  size_t players_;
  size_t count_ = 0;
  std::vector<uint8_t> flags_;
};

/// What is explained, as a cooperative game (Shapley 1953; Lundberg & Lee 2017): players are the
/// parts of one input that may be hidden (columns, words, patches, items of a history), the value
/// of a coalition is the model's answer when only its players are shown. How the others are hidden
/// is the game's to decide and to state.
class Game {
 public:
  virtual ~Game() = default;
  virtual size_t players() const = 0;
  /// Fills values (count): the value of each coalition. A value may depend on its coalition alone,
  /// neither on the batch around it nor on earlier calls.
  virtual void evaluate(const Coalitions& coalitions, std::span<double> values) = 0;
  /// Of how many games this is the mean, 1 at least: one a background row, say.
  virtual size_t cases() const { return 1; }
  /// Fills values (count): the value of each coalition in the one case that `case_of` (count)
  /// names, at 1 / cases() of what the mean over all of them takes.
  virtual void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                              std::span<double> values);
};

/// A game whose players come and go in groups: the places of one word, say.
class GroupedGame : public Game {
 public:
  /// `group_of` names the group of each player of `game`, 0 … groups - 1, each with one at least.
  /// The game must outlive this.
  GroupedGame(Game& game, std::vector<size_t> group_of);
  size_t players() const override { return groups_; }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override;
  size_t cases() const override { return game_.cases(); }
  void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                      std::span<double> values) override;
  const std::vector<size_t>& group_of() const { return group_of_; }

 private:
  Coalitions ungrouped(const Coalitions& coalitions) const;
  Game& game_;
  std::vector<size_t> group_of_;
  size_t groups_ = 0;
};

/// What players have, added up by group.
std::vector<double> group_sums(std::span<const double> players, std::span<const size_t> group_of);

/// A game given by a function of one coalition.
class FunctionGame : public Game {
 public:
  using Function = std::function<double(std::span<const uint8_t> coalition)>;
  FunctionGame(size_t players, Function function)
      : players_(players), function_(std::move(function)) {}
  size_t players() const override { return players_; }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override;

 private:
  size_t players_;
  Function function_;
};

/// The mean of cases, given by a function of one coalition and one case.
class CasesGame : public Game {
 public:
  using Function = std::function<double(std::span<const uint8_t> coalition, size_t in_case)>;
  CasesGame(size_t players, size_t cases, Function function)
      : players_(players), cases_(cases), function_(std::move(function)) {}
  size_t players() const override { return players_; }
  size_t cases() const override { return cases_; }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override;
  void evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                      std::span<double> values) override;

 private:
  size_t players_, cases_;
  Function function_;
};

}  // namespace quern::explain
