#pragma once

#include <string>
#include <vector>

#include "quern/formats/png.h"
#include "quern/train/row_report.h"

namespace quern::train {

/// A row of the validation part as the model answered it.
struct JudgedRow {
  size_t row = 0;            // of the part
  std::string stands, says;  // the truth and the answer, for people
  double weight = 0;         // by which errors are ordered: probability of the wrong answer, or the
                             // absolute residual
  bool wrong = false;
  std::string answer;  // what it says without how surely
};

/// Every row of the part, in its order.
std::vector<JudgedRow> judge_rows(const RowReport& report);
/// The wrong ones that were said most surely, or the values farthest off; at most `most`.
std::vector<JudgedRow> worst_errors(std::vector<JudgedRow> rows, size_t most);
/// What stands in a row's other columns: its text, or "age = 39, job = clerk, …", cut short.
std::string row_words(const RowReport& report, size_t row);

/// A row's picture as the model sees it, where there is a picture column.
formats::PixelView picture_of(const RowReport& report, size_t row);

/// The errors worth looking at: pictures as the model sees them, else a table.
void add_errors(report::HtmlPage& page, const RowReport& report);

}  // namespace quern::train
