#include "quern/train/row_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/text_encoding.h"

namespace quern::train {
namespace {

constexpr size_t kShown = 12, kShownPictures = 24, kMostBytes = 400, kTileWidth = 112;

std::string cut_short(std::string text) {
  if (text.size() <= kMostBytes) return text;
  text.resize(complete_utf8_prefix(std::string_view(text).substr(0, kMostBytes)));
  return text + "…";
}

std::vector<JudgedRow> judge_classes(const RowReport& r) {
  const metrics::Classified c = task::classified(*r.pipeline, *r.rows);
  std::vector<JudgedRow> out;
  for (size_t row = 0; row < c.rows(); ++row) {
    const size_t said = c.chosen(row);
    const auto stands = static_cast<size_t>(c.labels[row]);
    const double probability = static_cast<double>(c.probabilities[row * c.classes + said]);
    out.push_back({row, r.pipeline->classes[stands],
                   fmt::format("{} ({:.2f})", r.pipeline->classes[said], probability), probability,
                   said != stands, r.pipeline->classes[said]});
  }
  return out;
}

std::vector<JudgedRow> judge_values(const RowReport& r) {
  const task::OwnUnits units = task::own_units(*r.pipeline, *r.rows);
  std::vector<JudgedRow> out;
  for (size_t row = 0; row < units.targets.size(); ++row) {
    const std::string said = fmt::format("{:.6g}", units.predictions[row]);
    out.push_back({row, fmt::format("{:.6g}", units.targets[row]), said,
                   std::abs(units.targets[row] - units.predictions[row]), true, said});
  }
  return out;
}

void add_pictures(report::HtmlPage& page, const RowReport& r, const std::vector<JudgedRow>& rows) {
  std::vector<report::PictureTile> tiles;
  for (const JudgedRow& row : rows) {
    tiles.push_back({formats::png_data_uri(picture_of(r, row.row)),
                     fmt::format("{}: says {}", row.stands, row.says)});
  }
  page.pictures(tiles, kTileWidth);
}

}  // namespace

std::vector<JudgedRow> judge_rows(const RowReport& r) {
  return r.pipeline->task == "classify" ? judge_classes(r) : judge_values(r);
}

std::vector<JudgedRow> worst_errors(std::vector<JudgedRow> rows, size_t most) {
  std::erase_if(rows, [](const JudgedRow& row) { return !row.wrong; });
  std::stable_sort(rows.begin(), rows.end(),
                   [](const JudgedRow& a, const JudgedRow& b) { return a.weight > b.weight; });
  if (rows.size() > most) rows.resize(most);
  return rows;
}

formats::PixelView picture_of(const RowReport& r, size_t row) {
  const features::PictureFeature& feature = r.inputs->picture;
  return {feature.height, feature.width, feature.channels, r.inputs->picture_of(r.input_rows[row])};
}

std::string row_words(const RowReport& r, size_t row) {
  const size_t place = r.places[row];
  const auto texts = r.pipeline->columns.text_columns();
  const std::vector<std::string> columns = r.pipeline->columns.columns();
  const auto cell = [&](const std::string& column) {
    const int at = r.table->find(column);
    return at < 0 ? std::string() : std::string(r.table->cell(place, static_cast<size_t>(at)));
  };
  if (texts.size() == 1 && columns.size() == 1) return cut_short(cell(texts.front()));
  std::string out;
  for (const std::string& column : columns)
    out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", column, cell(column));
  return cut_short(out);
}

void add_errors(report::HtmlPage& page, const RowReport& r) {
  const bool classify = r.pipeline->task == "classify";
  const bool pictures = r.inputs != nullptr && r.inputs->picture.present();
  const std::vector<JudgedRow> judged = judge_rows(r);
  const auto wrong = static_cast<size_t>(
      std::count_if(judged.begin(), judged.end(), [](const JudgedRow& row) { return row.wrong; }));
  const std::vector<JudgedRow> worst = worst_errors(judged, pictures ? kShownPictures : kShown);
  page.heading("Errors worth looking at");
  if (worst.empty()) {
    page.paragraph("No row of the validation part is answered wrongly.");
    return;
  }
  page.paragraph(classify
                     ? fmt::format("{} of {} validation rows are answered wrongly; these most "
                                   "surely. A slip in the data often stands among them.",
                                   wrong, judged.size())
                     : "The validation rows farthest off. A slip in the data often stands among "
                       "them.");
  if (pictures) {
    add_pictures(page, r, worst);
    return;
  }
  report::Rows rows;
  for (const JudgedRow& row : worst) {
    rows.push_back(
        {row.stands, row.says, r.table->where(r.places[row.row]), row_words(r, row.row)});
  }
  page.table({"stands", "says", "where", "what"}, rows);
}

}  // namespace quern::train
