#pragma once

#include "quern/report/html.h"
#include "quern/task/row_scores.h"

namespace quern::train {

/// Confusion matrix, the pairs most often taken for each other, ROC, precision and recall, and
/// reliability, of the validation part.
void add_class_plots(report::HtmlPage& page, const run::RowPipeline& pipeline,
                     const task::RowAnswers& rows);
/// Truth against prediction, residuals against prediction, and how residuals are spread.
void add_value_plots(report::HtmlPage& page, const run::RowPipeline& pipeline,
                     const task::RowAnswers& rows);

}  // namespace quern::train
