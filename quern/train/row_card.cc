#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "quern/train/row_report.h"

namespace quern::train {
namespace {

/// What kind of rows the model reads.
struct Kind {
  std::string tag, rows;
};

Kind kind_of(const run::RowPipeline& p) {
  const features::ColumnEncoder& columns = p.columns;
  const bool alone = columns.columns().size() == 1;
  const std::string task = p.task == "classify" ? "classification" : "regression";
  if (alone && !columns.image_column().empty()) return {"image-" + task, "pictures"};
  if (alone && columns.text_columns().size() == 1) return {"text-" + task, "texts"};
  return {"tabular-" + task, "rows of a table"};
}

std::string intended_use(const RowReport& r, const Kind& kind) {
  const run::RowPipeline& p = *r.pipeline;
  std::string out = fmt::format(
      "\n## Intended use\n\nTo {} '{}' for {} that come from where the "
      "training data came from, with the columns {}.",
      p.task == "classify" ? "tell" : "estimate", p.target, kind.rows,
      fmt::join(p.columns.columns(), ", "));
  if (p.task == "classify") {
    const size_t shown = std::min<size_t>(30, p.classes.size());
    out += fmt::format(
        " It answers with one of {} classes ({}{}), each with a probability.", p.classes.size(),
        fmt::join(p.classes.begin(), p.classes.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
        shown < p.classes.size() ? ", …" : "");
  } else {
    out += " It answers with a value and an interval.";
  }
  return out +
         " Not meant: deciding about people without a person who can overrule it, and data of "
         "another origin.\n\n```\nquern predict . NEW.csv\nquern evaluate . LABELLED.csv\n"
         "```\n";
}

/// What the run itself shows against trusting the model.
std::vector<std::string> limits(const RowReport& r) {
  constexpr size_t kFewRows = 500, kFewOfAClass = 30, kEnoughForAnInterval = 9;
  constexpr double kMiscalibrated = 0.05;
  const run::RowPipeline& p = *r.pipeline;
  std::vector<std::string> out;
  const size_t rows = r.places.size();
  if (rows < kFewRows)
    out.push_back(fmt::format("The scores rest on {} rows: mind the intervals.", rows));
  if (p.task == "classify") {
    std::vector<size_t> counts(p.classes.size());
    for (const int32_t label : r.rows->targets.classes) counts[static_cast<size_t>(label)] += 1;
    const auto few =
        std::count_if(counts.begin(), counts.end(), [](size_t n) { return n < kFewOfAClass; });
    if (few > 0) {
      out.push_back(
          fmt::format("{} of {} classes have fewer than {} rows in the validation part: "
                      "little is known of how well they are told.",
                      few, counts.size(), kFewOfAClass));
    }
    const double ece = metrics::value_of(r.scores, "ece");
    if (ece > kMiscalibrated)
      out.push_back(fmt::format("Probabilities are off by {:.3f} in the mean (ECE).", ece));
  } else {
    out.push_back(
        fmt::format("The interval (± {:.4g}) is as wide for every row, and {}.", p.interval,
                    r.places.size() < kEnoughForAnInterval
                        ? "only the largest error of the few rows that validate: too few to say "
                          "what holds nine of ten"
                        : "holds nine of ten rows in all, not of every kind"));
  }
  for (const data::ColumnFacts& facts : r.facts) {
    const size_t half = r.table->rows() / 2;
    if (facts.missing > half && facts.name != p.target) {
      out.push_back(fmt::format("'{}' is missing in {} of {} rows.", facts.name, facts.missing,
                                r.table->rows()));
    }
  }
  out.emplace_back(
      "It knows rows like those of its training data and repeats what stands in them, "
      "unfairness included; it does not say what causes what.");
  out.emplace_back(
      "A value outside what training saw counts as the nearest it knows, a category "
      "or word that it never saw as unknown.");
  return out;
}

}  // namespace

std::string row_model_card(const RowReport& r) {
  const Kind kind = kind_of(*r.pipeline);
  std::string out = fmt::format(
      "---\nlibrary_name: quern\npipeline_tag: {}\n---\n\n# {}\n\nA transformer ({} parameters) "
      "over {}, trained from scratch with Quern to {} '{}'.\n",
      kind.tag, r.name, with_commas(r.run.parameters), kind.rows,
      r.pipeline->task == "classify" ? "tell" : "estimate", r.pipeline->target);
  out += intended_use(r, kind);
  out += "\n## Data and split\n\n" + report::markdown_table({"part", "rows"}, part_rows(r));
  const bool folds = r.pipeline->record.counts.contains("folds");
  out += fmt::format(
      "\nFingerprint of the data: `{}`. Preprocessing was fitted on {}.\n\n",
      r.pipeline->record.data_fingerprint,
      folds ? "the rows of all folds at once (quantiles, categories, words, the scale of values); "
              "models, linear start and baselines did not see the fold that they answer"
            : "the training rows alone");
  out += report::markdown_table({"column", "type", "why", "missing", "different values"},
                                column_rows(r));
  out += fmt::format(
      "\n## Metrics and baselines\n\n{}\n\nOn the validation rows, with 95 % "
      "bootstrap intervals; the baselines learnt from the same rows and answered "
      "the same ones. Those rows were never trained on, but chose the kept step and "
      "the calibration, so the figures are slightly optimistic: score a file that "
      "training never saw with `quern evaluate`.\n\n",
      r.headline);
  out += report::markdown_table(score_header(r), score_table(r));
  out += "\n## Training\n\n" + report::markdown_table({"what", "result"}, run_rows(r));
  out += "\n## Limits\n\n";
  for (const std::string& limit : limits(r)) out += "- " + limit + "\n";
  return out + card_ending();
}

}  // namespace quern::train
