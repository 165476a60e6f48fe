#include "quern/features/columns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "quern/base/error.h"

namespace quern::features {
namespace {

using data::ColumnFacts;
using data::ColumnType;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMostCategories = 10'000;
constexpr std::array<std::string_view, 7> kSources = {"value",   "year", "month",       "day",
                                                      "weekday", "hour", "elapsed_days"};
constexpr double kSecondsADay = 86400;

std::optional<double> read(const NumberFeature& feature, std::string_view cell) {
  if (data::is_missing_number(cell)) return std::nullopt;
  if (feature.source == NumberSource::kValue) return data::parse_written_number(cell);
  const auto seconds = data::parse_date(cell, feature.date_style);
  if (!seconds) return std::nullopt;
  const data::DateParts parts = data::date_parts(*seconds);
  switch (feature.source) {
    case NumberSource::kYear:
      return static_cast<double>(parts.year);
    case NumberSource::kMonth:
      return parts.month;
    case NumberSource::kDay:
      return parts.day;
    case NumberSource::kWeekday:
      return parts.weekday;
    case NumberSource::kHour:
      return parts.hour + parts.minute / 60.0;
    default:
      return static_cast<double>(*seconds) / kSecondsADay;
  }
}

/// At most `pieces` + 1 quantiles of sorted values, each once.
std::vector<double> quantiles_of(std::span<const double> values, int64_t pieces) {
  std::vector<double> knots;
  const auto last = static_cast<double>(values.size() - 1);
  for (int64_t i = 0; i <= pieces; ++i) {
    const double at = last * static_cast<double>(i) / static_cast<double>(pieces);
    const auto below = static_cast<size_t>(at);
    const size_t above = std::min(below + 1, values.size() - 1);
    const double knot = std::lerp(values[below], values[above], at - static_cast<double>(below));
    if (knots.empty() || knot > knots.back()) knots.push_back(knot);
  }
  return knots;
}

/// At most `pieces` + 1 knots. A value that fills a piece by itself (the zero of most people's
/// capital gains) is one knot, and the others share what it would waste: equal frequencies among
/// them, as histogram boosting does it (Ke et al. 2017, LightGBM's bins).
std::vector<double> knots_of(std::vector<double> values, int64_t pieces) {
  std::sort(values.begin(), values.end());
  std::vector<std::pair<double, size_t>> counted;  // value, how often
  for (const double value : values) {
    if (counted.empty() || value > counted.back().first) counted.emplace_back(value, 0);
    ++counted.back().second;
  }
  std::vector<double> knots;
  if (static_cast<int64_t>(counted.size()) <= pieces + 1) {
    for (const auto& [value, count] : counted) knots.push_back(value);
  } else {
    std::vector<std::pair<double, size_t>> by_count = counted;
    std::ranges::stable_sort(by_count, std::greater<>(), &std::pair<double, size_t>::second);
    size_t left = values.size();
    for (const auto& [value, count] : by_count) {
      if (pieces < 2 || count * static_cast<size_t>(pieces) <= left) break;
      knots.push_back(value);
      left -= count;
      --pieces;
    }
    std::ranges::sort(knots);
    std::erase_if(values, [&](double value) { return std::ranges::binary_search(knots, value); });
    const std::vector<double> light = quantiles_of(values, pieces);
    knots.insert(knots.end(), light.begin(), light.end());
    std::ranges::sort(knots);
    knots.erase(std::unique(knots.begin(), knots.end()), knots.end());
  }
  if (knots.empty()) knots.push_back(0);
  if (knots.size() == 1) knots.push_back(knots.front() + 1);
  return knots;
}

void fit_number(NumberFeature& feature, const data::Table& table, size_t column,
                std::span<const size_t> rows, int64_t pieces) {
  std::vector<double> values;
  values.reserve(rows.size());
  long double sum = 0, squares = 0;  // of values up to 1.8e308
  for (const size_t row : rows) {
    const auto value = read(feature, table.cell(row, column));
    if (!value) continue;
    values.push_back(*value);
    sum += *value;
  }
  const auto count = static_cast<long double>(std::max<size_t>(1, values.size()));
  const long double mean = sum / count;
  for (const double value : values) squares += (value - mean) * (value - mean);
  feature.mean = static_cast<double>(mean);
  feature.deviation = static_cast<double>(std::sqrt(squares / count));
  feature.missing = values.size() < rows.size();
  if (!(feature.deviation > 0)) feature.deviation = 1;
  feature.knots = knots_of(std::move(values), pieces);
}

/// The parts of a date that vary over the training rows.
std::vector<NumberFeature> fit_date(const ColumnFacts& facts, const data::Table& table,
                                    size_t column, std::span<const size_t> rows, int64_t pieces) {
  std::vector<NumberFeature> parts;
  for (size_t source = 1; source < kSources.size(); ++source) {
    NumberFeature feature;
    feature.column = facts.name;
    feature.source = static_cast<NumberSource>(source);
    feature.date_style = facts.date_style;
    std::set<double> seen;
    for (const size_t row : rows) {
      if (const auto value = read(feature, table.cell(row, column))) seen.insert(*value);
      if (seen.size() > 1) break;
    }
    if (seen.size() < 2) continue;
    fit_number(feature, table, column, rows, pieces);
    parts.push_back(std::move(feature));
  }
  return parts;
}

std::string_view category_of(std::string_view cell) {
  return data::is_missing(cell) ? std::string_view() : cell;
}

CategoryFeature fit_category(const data::Table& table, size_t column,
                             std::span<const size_t> rows) {
  CategoryFeature feature;
  feature.column = table.columns()[column];
  std::map<std::string, size_t, std::less<>> counts;
  for (const size_t row : rows) ++counts[std::string(category_of(table.cell(row, column)))];
  // What is rare is what is unknown: its embedding learns from all of them.
  const size_t rare = rows.size() >= 1000 ? 3 : 2;
  std::vector<std::pair<size_t, std::string>> kept;
  for (const auto& [value, count] : counts) {
    if (count >= rare || value.empty()) kept.emplace_back(count, value);
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (kept.size() > kMostCategories) kept.resize(kMostCategories);
  for (auto& [count, value] : kept) feature.values.push_back(std::move(value));
  feature.index();
  return feature;
}

std::vector<size_t> find_columns(const data::Table& table, const std::vector<std::string>& names) {
  std::vector<size_t> found;
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    const int at = table.find(name);
    if (at < 0) missing.push_back(name);
    found.push_back(static_cast<size_t>(std::max(at, 0)));
  }
  if (!missing.empty()) {
    throw Error("missing_column",
                fmt::format("the data lacks {} that the model reads: {}",
                            missing.size() == 1 ? "a column" : "columns", fmt::join(missing, ", ")),
                "give a table with the columns of the training data");
  }
  return found;
}

template <typename T>
T field(const json& object, const char* key, std::string_view where) {
  try {
    return object.at(key).get<T>();
  } catch (const json::exception&) {
    throw FormatError(fmt::format("{}: no valid \"{}\" in the columns", where, key),
                      "restore it from a copy of the run folder");
  }
}

}  // namespace

EncodedRows EncodedRows::select(std::span<const size_t> indices) const {
  EncodedRows out;
  out.rows = static_cast<int64_t>(indices.size());
  out.numbers = numbers;
  out.categories = categories;
  out.picture = picture;
  const auto take = [&](const auto& from, auto& to, int64_t width) {
    if (from.empty()) return;
    to.reserve(indices.size() * static_cast<size_t>(width));
    for (const size_t row : indices) {
      const auto at = from.begin() + static_cast<ptrdiff_t>(row) * width;
      to.insert(to.end(), at, at + width);
    }
  };
  take(places, out.places, numbers);
  take(category_ids, out.category_ids, categories);
  take(texts, out.texts, 1);
  take(pixels, out.pixels, picture.pixels());
  return out;
}

void EncodedRows::append(const EncodedRows& more) {
  rows += more.rows;
  places.insert(places.end(), more.places.begin(), more.places.end());
  category_ids.insert(category_ids.end(), more.category_ids.begin(), more.category_ids.end());
  texts.insert(texts.end(), more.texts.begin(), more.texts.end());
  pixels.insert(pixels.end(), more.pixels.begin(), more.pixels.end());
}

float NumberFeature::place(double value) const {
  if (std::isnan(value)) return std::numeric_limits<float>::quiet_NaN();
  if (value <= knots.front()) return 0;
  if (value >= knots.back()) return static_cast<float>(pieces());
  const auto above = std::upper_bound(knots.begin(), knots.end(), value);
  const double low = *std::prev(above);
  const auto piece = static_cast<double>(above - knots.begin() - 1);
  // Halves, exactly: the distance of two doubles may be more than a double holds.
  return static_cast<float>(piece + (value / 2 - low / 2) / (*above / 2 - low / 2));
}

double NumberFeature::standardised(float place) const {
  const auto below = std::min(static_cast<size_t>(place), knots.size() - 2);
  const double share = static_cast<double>(place) - static_cast<double>(below);
  const double value = knots[below] + share * (knots[below + 1] - knots[below]);
  return (value - mean) / deviation;
}

void CategoryFeature::index() {
  ids_.clear();
  for (size_t i = 0; i < values.size(); ++i) ids_.emplace(values[i], static_cast<int32_t>(i + 1));
}

int32_t CategoryFeature::id(std::string_view value) const {
  const auto found = ids_.find(std::string(value));
  return found == ids_.end() ? 0 : found->second;
}

ColumnEncoder ColumnEncoder::fit(const data::Table& table, std::span<const ColumnFacts> facts,
                                 std::string_view target, std::span<const size_t> rows,
                                 int64_t most_pieces) {
  ColumnEncoder encoder;
  for (size_t column = 0; column < facts.size(); ++column) {
    const ColumnFacts& one = facts[column];
    if (one.name == target) continue;
    switch (one.type) {
      case ColumnType::kNumber: {
        NumberFeature feature;
        feature.column = one.name;
        fit_number(feature, table, column, rows, most_pieces);
        encoder.numbers_.push_back(std::move(feature));
        break;
      }
      case ColumnType::kDate:
        for (NumberFeature& part : fit_date(one, table, column, rows, most_pieces))
          encoder.numbers_.push_back(std::move(part));
        break;
      case ColumnType::kCategory:
        encoder.categories_.push_back(fit_category(table, column, rows));
        break;
      case ColumnType::kText:
        encoder.texts_.push_back(one.name);
        break;
      case ColumnType::kImage:
        if (!encoder.image_.empty()) {
          throw UsageError(
              "two_image_columns",
              fmt::format("the columns '{}' and '{}' both hold pictures", encoder.image_, one.name),
              "leave one out: data.types = \"NAME = ignore\"");
        }
        encoder.image_ = one.name;
        break;
      default:
        break;
    }
  }
  return encoder;
}

std::vector<std::string> ColumnEncoder::columns() const {
  std::vector<std::string> names;
  for (const NumberFeature& feature : numbers_) {
    if (names.empty() || names.back() != feature.column) names.push_back(feature.column);
  }
  for (const CategoryFeature& feature : categories_) names.push_back(feature.column);
  names.insert(names.end(), texts_.begin(), texts_.end());
  if (!image_.empty()) names.push_back(image_);
  return names;
}

int64_t ColumnEncoder::number_bins() const {
  int64_t pieces = 0;
  for (const NumberFeature& feature : numbers_) pieces = std::max(pieces, feature.pieces());
  return pieces + 1;
}

EncodedRows ColumnEncoder::encode(const data::Table& table, std::span<const size_t> rows,
                                  ThreadPool* pool) const {
  std::vector<std::string> names;
  for (const NumberFeature& feature : numbers_) names.push_back(feature.column);
  for (const CategoryFeature& feature : categories_) names.push_back(feature.column);
  names.insert(names.end(), texts_.begin(), texts_.end());
  if (!image_.empty()) names.push_back(image_);
  const std::vector<size_t> at = find_columns(table, names);
  EncodedRows out;
  out.rows = static_cast<int64_t>(rows.size());
  out.numbers = static_cast<int64_t>(numbers_.size());
  out.categories = static_cast<int64_t>(categories_.size());
  out.places.reserve(rows.size() * numbers_.size());
  out.category_ids.reserve(rows.size() * categories_.size());
  for (const size_t row : rows) {
    size_t column = 0;
    for (const NumberFeature& feature : numbers_) {
      const auto value = read(feature, table.cell(row, at[column++]));
      // What no training row lacked has no code of its own: the model never saw it.
      const double stand_in = feature.missing ? std::nan("") : feature.mean;
      out.places.push_back(feature.place(value.value_or(stand_in)));
    }
    for (const CategoryFeature& feature : categories_)
      out.category_ids.push_back(feature.id(category_of(table.cell(row, at[column++]))));
    if (!texts_.empty()) {
      std::string text;
      for (size_t i = 0; i < texts_.size(); ++i) {
        if (i > 0) text += '\n';
        text += table.cell(row, at[column++]);
      }
      out.texts.push_back(std::move(text));
    }
  }
  if (picture_.present()) {
    out.picture = picture_;
    out.pixels = load_pictures(picture_, table, at.back(), rows, pool);
  }
  return out;
}

void ColumnEncoder::write_code(float place, int64_t bins, float* out) {
  std::fill(out, out + bins, 0.0F);
  if (std::isnan(place)) {
    out[bins - 1] = 1;
    return;
  }
  const auto passed = static_cast<int64_t>(place);
  std::fill(out, out + passed, 1.0F);
  // The last input is for missing values alone; a place at the end has passed every piece.
  if (passed < bins - 1) out[passed] = place - static_cast<float>(passed);
}

ordered_json ColumnEncoder::to_json() const {
  ordered_json numbers = ordered_json::array();
  for (const NumberFeature& f : numbers_) {
    numbers.push_back({{"column", f.column},
                       {"source", kSources[static_cast<size_t>(f.source)]},
                       {"day_first", f.date_style.day_first},
                       {"compact", f.date_style.compact},
                       {"knots", f.knots},
                       {"mean", f.mean},
                       {"deviation", f.deviation},
                       {"missing", f.missing}});
  }
  ordered_json categories = ordered_json::array();
  for (const CategoryFeature& f : categories_)
    categories.push_back({{"column", f.column}, {"values", f.values}});
  return {{"numbers", std::move(numbers)},
          {"categories", std::move(categories)},
          {"texts", texts_},
          {"image", image_},
          {"picture",
           {{"height", picture_.height},
            {"width", picture_.width},
            {"channels", picture_.channels},
            {"mean", picture_.mean},
            {"deviation", picture_.deviation}}}};
}

ColumnEncoder ColumnEncoder::from_json(const json& source, std::string_view where) {
  const auto refuse = [&](const char* what) {
    throw FormatError(fmt::format("{}: {}", where, what),
                      "restore it from a copy of the run folder");
  };
  ColumnEncoder encoder;
  for (const json& one : field<std::vector<json>>(source, "numbers", where)) {
    NumberFeature f;
    f.column = field<std::string>(one, "column", where);
    const auto kind = field<std::string>(one, "source", where);
    const auto* it = std::find(kSources.begin(), kSources.end(), kind);
    if (it == kSources.end()) refuse("a number column of an unknown source");
    f.source = static_cast<NumberSource>(it - kSources.begin());
    f.date_style.day_first = field<bool>(one, "day_first", where);
    f.date_style.compact = field<bool>(one, "compact", where);
    f.knots = field<std::vector<double>>(one, "knots", where);
    f.mean = field<double>(one, "mean", where);
    f.deviation = field<double>(one, "deviation", where);
    // Runs before this was written always had a code for it.
    f.missing = !one.contains("missing") || field<bool>(one, "missing", where);
    if (f.knots.size() < 2 || !std::is_sorted(f.knots.begin(), f.knots.end()) ||
        !std::isfinite(f.knots.front()) || !std::isfinite(f.knots.back()))
      refuse("the knots of a number column do not rise");
    encoder.numbers_.push_back(std::move(f));
  }
  for (const json& one : field<std::vector<json>>(source, "categories", where)) {
    CategoryFeature f;
    f.column = field<std::string>(one, "column", where);
    f.values = field<std::vector<std::string>>(one, "values", where);
    f.index();
    encoder.categories_.push_back(std::move(f));
  }
  encoder.texts_ = field<std::vector<std::string>>(source, "texts", where);
  encoder.image_ = field<std::string>(source, "image", where);
  if (!encoder.image_.empty()) {
    const json picture = field<json>(source, "picture", where);
    PictureFeature& p = encoder.picture_;
    p.column = encoder.image_;
    p.height = field<int64_t>(picture, "height", where);
    p.width = field<int64_t>(picture, "width", where);
    p.channels = field<int64_t>(picture, "channels", where);
    p.mean = field<std::array<double, 3>>(picture, "mean", where);
    p.deviation = field<std::array<double, 3>>(picture, "deviation", where);
    constexpr int64_t kMostSide = 4096;
    if (p.height < 1 || p.width < 1 || p.height > kMostSide || p.width > kMostSide ||
        (p.channels != 1 && p.channels != 3) ||
        !std::all_of(p.deviation.begin(), p.deviation.end(), [](double d) { return d > 0; }))
      refuse("the size or the scale of its pictures is out of range");
  }
  return encoder;
}

}  // namespace quern::features
