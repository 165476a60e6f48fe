#include "quern/task/background.h"

#include <algorithm>
#include <numeric>

#include "quern/base/random.h"
#include "quern/data/csv_parser.h"
#include "quern/task/text_windows.h"

namespace quern::task {

std::vector<size_t> choose_background(const TableTask& task, size_t count, uint64_t seed) {
  const std::vector<size_t>& rows = task.split.train;
  const RowTargets targets = task.targets(rows);
  std::vector<size_t> order(rows.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = permute(i, order.size(), seed, static_cast<uint32_t>(Stream::kBackground));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return targets.classes.empty() ? targets.values[a] < targets.values[b]
                                   : targets.classes[a] < targets.classes[b];
  });
  const size_t taken = std::min(count, order.size());
  std::vector<size_t> chosen;
  // The middle of each of `taken` equal stretches.
  for (size_t i = 0; i < taken; ++i)
    chosen.push_back(rows[order[(2 * i + 1) * order.size() / (2 * taken)]]);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::string background_csv(const data::Table& table, const features::ColumnEncoder& encoder,
                           std::span<const size_t> rows) {
  std::string out;
  const std::vector<std::string> names = encoder.columns();
  const auto separator = [&](size_t i) { out += i + 1 < names.size() ? ',' : '\n'; };
  std::vector<int> places;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto texts = encoder.text_columns();
    const bool kept = names[i] != encoder.image_column() &&
                      std::find(texts.begin(), texts.end(), names[i]) == texts.end();
    places.push_back(kept ? table.find(names[i]) : -1);
    out += data::csv_field(names[i]);
    separator(i);
  }
  for (const size_t row : rows) {
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string_view cell =
          places[i] >= 0 ? table.cell(row, static_cast<size_t>(places[i])) : std::string_view();
      // A line that is empty is no record.
      out += cell.empty() && names.size() == 1 ? "\"\"" : data::csv_field(cell);
      separator(i);
    }
  }
  return out;
}

}  // namespace quern::task
