#include "quern/train/recommend_report.h"

#include <fmt/format.h>

#include <cmath>

namespace quern::train {
namespace {

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
    for (const metrics::Score& score : method.*which) row.push_back(with_interval(score.interval));
  }
  return rows;
}

report::Rows data_rows(const RecommendReport& r) {
  report::Rows rows;
  for (const auto& [key, value] : r.pipeline->record.counts)
    rows.push_back({key, with_commas(static_cast<int64_t>(value))});
  return rows;
}

constexpr uint32_t kMostK = 50;

/// The share of users whose item stands in the first k, and its discounted gain, for k = 1 … 50.
report::Series by_k(const std::string& name, const std::vector<uint32_t>& ranks, bool discounted) {
  std::vector<double> gains(kMostK + 1);
  for (const uint32_t rank : ranks) {
    if (rank >= 1 && rank <= kMostK)
      gains[rank] += discounted ? 1 / std::log2(static_cast<double>(rank) + 1) : 1;
  }
  report::Series series{name, {}};
  double sum = 0;
  for (uint32_t k = 1; k <= kMostK; ++k) {
    sum += gains[k];
    series.points.push_back({static_cast<double>(k), sum / static_cast<double>(ranks.size())});
  }
  return series;
}

void add_rank_plots(report::HtmlPage& page, const RecommendReport& r,
                    std::vector<uint32_t> task::RecommendScores::*which) {
  std::vector<report::Series> hits, gains;
  for (const task::RecommendScores& method : r.scores) {
    if ((method.*which).empty()) return;
    hits.push_back(by_k(method.name, method.*which, false));
    gains.push_back(by_k(method.name, method.*which, true));
  }
  page.svg(report::to_svg(plot("Hit rate by k", "k", "HR@k", std::move(hits))));
  page.svg(report::to_svg(plot("NDCG by k", "k", "NDCG@k", std::move(gains))));
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
    add_rank_plots(page, r, &task::RecommendScores::unseen_ranks);
  }
  page.heading("All items");
  page.paragraph(kAll);
  page.table(score_header(r.scores.front().all), score_rows(r, &task::RecommendScores::all));
  add_rank_plots(page, r, &task::RecommendScores::all_ranks);
  page.heading("Training");
  page.table({"what", "result"}, training_rows(r.run));
  add_curves(page, r.run);
  page.heading("Data");
  page.table({"what", "count"}, data_rows(r));
  add_options(page, *r.run.options);
  return page.str();
}

std::string recommend_model_card(const RecommendReport& r) {
  std::string out = fmt::format(
      "---\nlibrary_name: quern\ntags: [recommendation]\n---\n\n# {}\n\nA causal transformer over "
      "items ({} parameters) that ranks what a user may take next, trained from scratch with "
      "Quern.\n\n## Intended use\n\nTo suggest items that it knows to users of the same "
      "place, known ones or by their history. Not meant: for items that it does not know, and "
      "where what is popular must not be favoured.\n\n```\nquern recommend . --user USER\nquern "
      "recommend . --history ITEM,ITEM\n```\n\n## Data and split\n\n",
      r.name, with_commas(r.run.parameters));
  out += report::markdown_table({"what", "count"}, data_rows(r));
  out += fmt::format(
      "\nFingerprint of the data: `{}`. Columns: user `{}`, item `{}`, {}.\n\n## Metrics and "
      "baselines\n\n{}\n\nProtocol: {}.\n\n",
      r.pipeline->record.data_fingerprint, r.pipeline->columns.user, r.pipeline->columns.item,
      r.pipeline->columns.time.empty() ? "no time (the order of the file)"
                                       : fmt::format("time `{}`", r.pipeline->columns.time),
      r.headline, r.pipeline->protocol);
  if (!r.scores.front().unseen.empty()) {
    out += fmt::format("{}\n\n", kUnseen) +
           report::markdown_table(score_header(r.scores.front().unseen),
                                  score_rows(r, &task::RecommendScores::unseen)) +
           "\n";
  }
  out += fmt::format("{}\n\n", kAll) +
         report::markdown_table(score_header(r.scores.front().all),
                                score_rows(r, &task::RecommendScores::all));
  out += "\n## Training\n\n" + report::markdown_table({"what", "result"}, training_rows(r.run));
  return out +
         "\n## Limits\n\n- It recommends only items that it knows, from training or by their "
         "columns, and favours what was taken often.\n- Scores speak of what users took by "
         "themselves: that a suggestion changes "
         "what they take is not measured.\n- Histories of the users are stored beside the model "
         "(histories.jsonl): treat the folder as personal data.\n" +
         card_ending();
}

}  // namespace quern::train
