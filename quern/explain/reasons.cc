#include "quern/explain/reasons.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/table_reader.h"

namespace quern::explain {
namespace {

using Direction = ReasonEntry::Direction;

Direction parse_direction(std::string_view text, const std::string& where) {
  if (text.empty() || text == "any") return Direction::kAny;
  if (text == "high") return Direction::kHigh;
  if (text == "low") return Direction::kLow;
  throw FormatError(fmt::format("{}: the direction '{}' is none", where, text),
                    "write high, low or any");
}

/// Where the row's number lies beside the median of the reference; any: not a number, or missing.
Direction side_of(const RowPart& part, const ExplainedRow& row,
                  const features::EncodedRows& reference) {
  if (part.numbers.size() != 1) return Direction::kAny;
  const size_t feature = part.numbers.front();
  const float own = row.inputs.columns.places[feature];
  std::vector<float> places;
  for (int64_t b = 0; b < reference.rows; ++b) {
    const float place = reference.places[static_cast<size_t>(b * reference.numbers) + feature];
    if (!std::isnan(place)) places.push_back(place);
  }
  if (std::isnan(own) || places.empty()) return Direction::kAny;
  const auto middle = places.begin() + static_cast<std::ptrdiff_t>(places.size() / 2);
  std::nth_element(places.begin(), middle, places.end());
  if (own == *middle) return Direction::kAny;
  return own > *middle ? Direction::kHigh : Direction::kLow;
}

std::string_view name_of(Direction direction) {
  return direction == Direction::kHigh ? "high" : direction == Direction::kLow ? "low" : "any";
}

/// The answer less what it is when the column alone is hidden, for each player.
std::vector<double> single_effects(Game& game, double value) {
  Coalitions coalitions(game.players());
  for (size_t player = 0; player < game.players(); ++player) {
    const std::span<uint8_t> shown = coalitions.add();
    std::ranges::fill(shown, uint8_t{1});
    shown[player] = 0;
  }
  std::vector<double> values(coalitions.count());
  game.evaluate(coalitions, values);
  for (double& one : values) one = value - one;
  return values;
}

}  // namespace

std::vector<ReasonEntry> read_reasons(const run::RowRun& run, const std::string& file,
                                      Reporter& reporter) {
  const std::vector<fs::path> paths = {file};
  const data::Table table = data::read_table(paths, {}, reporter);
  std::array<int, 3> places{};
  constexpr std::array<const char*, 3> kNames = {"column", "code", "text"};
  for (size_t i = 0; i < kNames.size(); ++i) {
    places[i] = table.find(kNames[i]);
    if (places[i] < 0) {
      throw FormatError(
          fmt::format("'{}': a dictionary of reasons needs the column '{}'", file, kNames[i]),
          "its columns are column, code, text and, where wanted, direction");
    }
  }
  const int direction = table.find("direction");
  const std::vector<std::string> known = run.pipeline.columns.columns();
  std::vector<ReasonEntry> entries;
  for (size_t row = 0; row < table.rows(); ++row) {
    const auto cell = [&](int column) {
      return std::string(table.cell(row, static_cast<size_t>(column)));
    };
    ReasonEntry entry{cell(places[0]), cell(places[1]), cell(places[2]), Direction::kAny};
    if (std::ranges::find(known, entry.column) == known.end()) {
      const auto near = nearest(entry.column, known);
      throw UsageError(
          "unknown_column",
          fmt::format("{}: the model reads no column '{}'", table.where(row), entry.column),
          near ? fmt::format("did you mean '{}'?", *near)
               : fmt::format("it reads {}", fmt::join(known, ", ")));
    }
    if (direction >= 0) entry.direction = parse_direction(cell(direction), table.where(row));
    entries.push_back(std::move(entry));
  }
  return entries;
}

ReasonReport find_reasons(Game& game, const Explanation& explanation, const ExplainedRow& row,
                          const features::EncodedRows& reference,
                          std::span<const ReasonEntry> dictionary, size_t count) {
  const Attribution& a = explanation.attribution;
  const std::vector<double> effects = single_effects(game, a.value);
  ReasonReport report;
  report.asked = true;
  for (const size_t player : a.ranking()) {
    const RowPart& part = row.parts[player];
    if (part.kind != RowPart::Kind::kColumn || a.phi[player] <= 0) continue;
    if (report.reasons.size() == count) break;
    const auto pass_over = [&](std::string why) {
      report.withheld.push_back({part.name, part.value, a.phi[player], std::move(why)});
    };
    if (a.interval(player).low <= 0) {
      pass_over("its contribution is not clear of zero");
      continue;
    }
    if (effects[player] <= 0) {
      pass_over("values of the reference population in its place do not lower the answer");
      continue;
    }
    const Direction side = side_of(part, row, reference);
    bool listed = false;
    const ReasonEntry* chosen = nullptr;
    for (const ReasonEntry& entry : dictionary) {
      if (entry.column != part.name) continue;
      listed = true;
      const bool fits = entry.direction == Direction::kAny || entry.direction == side;
      if (fits && (chosen == nullptr || chosen->direction == Direction::kAny)) chosen = &entry;
    }
    if (chosen == nullptr) {
      pass_over(listed
                    ? fmt::format("the dictionary has it for another direction; the value lies {} "
                                  "beside the reference median",
                                  side == Direction::kAny ? "not" : name_of(side))
                    : "the dictionary has no reason for it");
      continue;
    }
    report.reasons.push_back({chosen->code, chosen->text, part.name, part.value,
                              std::string(name_of(side)), a.phi[player], effects[player]});
  }
  return report;
}

}  // namespace quern::explain
