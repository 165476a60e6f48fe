#include "quern/train/training_report.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/base/strings.h"
#include "quern/report/html.h"

namespace quern::train {
namespace {

report::Rows score_rows(const TrainingReport& r) {
  return {{"bits per byte of validation text", fmt::format("{:.4f}", r.bits_per_byte)},
          {"baseline on the same split",
           fmt::format("{:.4f} bits per byte ({})", r.baseline_bits_per_byte, r.baseline)}};
}

std::string count(const run::Pipeline& pipeline, const std::string& key) {
  const auto found = pipeline.counts.find(key);
  return found == pipeline.counts.end() ? "0" : with_commas(static_cast<int64_t>(found->second));
}

report::Rows data_rows(const run::Pipeline& pipeline) {
  report::Rows rows;
  for (const std::string part : {"train", "validation", "test"}) {
    rows.push_back({part, count(pipeline, part + ".documents"), count(pipeline, part + ".bytes"),
                    count(pipeline, part + ".tokens")});
  }
  return rows;
}

}  // namespace

std::string result_line(double bits_per_byte, double baseline) {
  const double share = 100 * std::abs(1 - bits_per_byte / baseline);
  return fmt::format("{:.3f} bits per byte; a 5-gram on the same split has {:.3f}: {}",
                     bits_per_byte, baseline,
                     bits_per_byte < baseline
                         ? fmt::format("the transformer wins by {:.1f} %", share)
                         : fmt::format("the transformer does not win ({:.1f} % worse)", share));
}

std::string report_html(const TrainingReport& r) {
  report::HtmlPage page("Training report: " + r.name);
  page.paragraph(result_line(r.bits_per_byte, r.baseline_bits_per_byte));
  page.table({"what", "result"}, score_rows(r));
  page.heading("Training");
  page.table({"what", "result"}, training_rows(r.run));
  add_curves(page, r.run);
  page.heading("Samples");
  page.paragraph("Drawn from the kept weights at temperature 0.8, from the beginning of a text.");
  for (const std::string& sample : r.samples) {
    if (!trim(sample).empty()) page.preformatted(trim(sample));
  }
  page.heading("Data");
  page.table({"part", "documents", "bytes", "tokens"}, data_rows(*r.pipeline));
  add_options(page, *r.run.options);
  return page.str();
}

std::string model_card(const TrainingReport& r) {
  const model::ModelConfig& c = *r.config;
  std::string out = fmt::format(
      "---\nlibrary_name: quern\npipeline_tag: text-generation\n---\n\n# {}\n\nA decoder-only "
      "transformer ({} block, {} layers, {} heads, width {}, context {}, {} parameters), trained "
      "from scratch with Quern on the text described below.\n\n## Intended use\n\nTo continue "
      "texts of the kind it was trained on, at most {} tokens at a time. Not meant: as a source of "
      "facts, or for texts of another kind.\n\n```\nquern generate . \"Once\"\n```\n",
      r.name, c.preset, c.layers, c.heads, c.width, c.context, with_commas(r.run.parameters),
      c.context);
  out += "\n## Data and split\n\n" +
         report::markdown_table({"part", "documents", "bytes", "tokens"}, data_rows(*r.pipeline));
  out += fmt::format(
      "\nFingerprint of the data: `{}`. Exact copies were removed before the split; the validation "
      "part was never trained on. It did choose the kept step, so its figure is slightly "
      "optimistic.\n\n## Metrics and baseline\n\n{}\n\n",
      r.pipeline->data_fingerprint, result_line(r.bits_per_byte, r.baseline_bits_per_byte));
  out += report::markdown_table({"what", "result"}, score_rows(r));
  out += "\n## Training\n\n" + report::markdown_table({"what", "result"}, training_rows(r.run));
  return out +
         "\n## Limits\n\n- The model knows nothing but its training text, and repeats what stands "
         "in it, mistakes and prejudice included.\n- It does not know what is true: check what it "
         "writes before using it.\n- It may give back whole passages of the training text.\n" +
         card_ending();
}

}  // namespace quern::train
