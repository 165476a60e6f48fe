#include "quern/train/recommend_report.h"

#include <fmt/format.h>

#include "quern/report/html.h"
#include "quern/report/line_plot.h"

namespace quern::train {
namespace {

std::string cell(const metrics::Score& score) {
  return fmt::format("{:.4f} ({:.4f} to {:.4f})", score.interval.value, score.interval.low,
                     score.interval.high);
}

std::vector<std::string> score_header(const std::vector<metrics::Score>& scores) {
  std::vector<std::string> header = {"method"};
  for (const metrics::Score& score : scores) header.push_back(score.name);
  return header;
}

report::Rows score_rows(const RecommendReport& r,
                        std::vector<metrics::Score> task::RecommendScores::*which) {
  report::Rows rows;
  for (const task::RecommendScores& method : r.scores) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(method.name);
    for (const metrics::Score& score : method.*which) row.push_back(cell(score));
  }
  return rows;
}

report::Rows fact_rows(const RecommendReport& r) {
  report::Rows rows;
  for (const auto& [key, value] : r.pipeline->record.counts)
    rows.push_back({key, std::to_string(value)});
  rows.push_back({"parameters", std::to_string(r.parameters)});
  rows.push_back({"steps", fmt::format("{}, best at {}", r.result->steps, r.result->best_step)});
  rows.push_back({"stopped because of", std::string(name(r.result->stopped_because))});
  rows.push_back({"time", format_duration(r.result->seconds)});
  rows.push_back({"verdict", r.result->verdict.text});
  return rows;
}

std::string loss_plot(const RecommendReport& r) {
  report::LinePlot plot;
  plot.title = "Loss";
  plot.x_label = "step";
  plot.y_label = "nats an item";
  report::Series train{"training", {}};
  report::Series validation{"validation", {}};
  for (const EvaluationRecord& e : r.losses.evaluations) {
    train.points.push_back({static_cast<double>(e.step), e.train_loss});
    validation.points.push_back({static_cast<double>(e.step), e.validation_loss});
  }
  plot.series = {std::move(train), std::move(validation)};
  plot.marked_x = static_cast<double>(r.result->best_step);
  plot.mark = "kept";
  return report::to_svg(plot);
}

constexpr const char* kUnseen =
    "Seen items left out of the ranking; users whose test item is new to them (95 % intervals over "
    "users).";
constexpr const char* kAll =
    "Every item ranked, repeats allowed; all tested users. An item that training never saw is a "
    "miss.";

}  // namespace

std::string recommend_report_html(const RecommendReport& r) {
  report::HtmlPage page("Training report: " + r.name);
  page.paragraph(r.headline);
  page.paragraph("Protocol: " + r.pipeline->protocol + ".");
  if (!r.scores.empty() && !r.scores.front().unseen.empty()) {
    page.heading("New items");
    page.paragraph(kUnseen);
    page.table(score_header(r.scores.front().unseen),
               score_rows(r, &task::RecommendScores::unseen));
  }
  page.heading("All items");
  page.paragraph(kAll);
  page.table(score_header(r.scores.front().all), score_rows(r, &task::RecommendScores::all));
  page.heading("Curves");
  page.svg(loss_plot(r));
  page.heading("Facts");
  page.table({"what", "value"}, fact_rows(r));
  page.heading("Options");
  report::Rows rows;
  for (const run::OptionInfo& info : run::option_table()) {
    rows.push_back({std::string(info.key), std::string(r.options->text(info.key)),
                    std::string(r.options->who(info.key))});
  }
  page.table({"key", "value", "decided by"}, rows);
  return page.str();
}

std::string recommend_model_card(const RecommendReport& r) {
  std::string out = fmt::format(
      "---\nlibrary_name: quern\ntags: [recommendation]\n---\n\n# {}\n\nA causal transformer over "
      "items that ranks what a user may take next, trained from scratch with Quern.\n\n## "
      "Result\n\n{}\n\nProtocol: {}.\n\n",
      r.name, r.headline, r.pipeline->protocol);
  if (!r.scores.front().unseen.empty()) {
    out += fmt::format("{}\n\n", kUnseen) +
           report::markdown_table(score_header(r.scores.front().unseen),
                                  score_rows(r, &task::RecommendScores::unseen)) +
           "\n";
  }
  out += fmt::format("{}\n\n", kAll) +
         report::markdown_table(score_header(r.scores.front().all),
                                score_rows(r, &task::RecommendScores::all));
  out += "\n## Data and training\n\n" + report::markdown_table({"what", "value"}, fact_rows(r));
  out +=
      "\n## Use\n\n```\nquern recommend . --user USER\nquern recommend . --history "
      "ITEM,ITEM\n```\n\n## Limits\n\nIt recommends only items of its training part, and favours "
      "what was taken often. Histories of the users are stored beside the model "
      "(histories.jsonl): treat the folder as personal data.\n";
  return out;
}

}  // namespace quern::train
