#include "quern/train/training_report.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/base/strings.h"
#include "quern/report/html.h"
#include "quern/report/line_plot.h"

namespace quern::train {
namespace {

report::Rows result_rows(const TrainingReport& r) {
  report::Rows rows = {
      {"validation loss", fmt::format("{:.4f} nats a token", r.result->validation.loss)},
      {"training loss, without dropout", fmt::format("{:.4f} nats a token", r.result->train.loss)},
      {"bits per byte of validation text", fmt::format("{:.4f}", r.bits_per_byte)}};
  rows.push_back({"baseline on the same split",
                  fmt::format("{:.4f} bits per byte ({})", r.baseline_bits_per_byte, r.baseline)});
  rows.push_back({"verdict", r.result->verdict.text});
  rows.push_back({"steps", fmt::format("{}, best at {}", with_commas(r.result->steps),
                                       with_commas(r.result->best_step))});
  rows.push_back({"stopped because of", std::string(name(r.result->stopped_because))});
  rows.push_back({"time", format_duration(r.result->seconds)});
  rows.push_back({"parameters", with_commas(r.parameters)});
  return rows;
}

std::string loss_plot(const TrainingReport& r) {
  report::LinePlot plot;
  plot.title = "Loss";
  plot.x_label = "step";
  plot.y_label = "nats a token";
  report::Series train{"training", {}};
  report::Series validation{"validation", {}};
  for (const EvaluationRecord& e : r.losses.evaluations) {
    const auto step = static_cast<double>(e.step);
    train.points.push_back({step, e.train_loss});
    validation.points.push_back({step, e.validation_loss});
  }
  plot.series = {std::move(train), std::move(validation)};
  plot.marked_x = static_cast<double>(r.result->best_step);
  plot.mark = "kept";
  return report::to_svg(plot);
}

std::string step_plot(const TrainingReport& r, std::string title, std::string unit,
                      double StepRecord::*field) {
  report::LinePlot plot;
  plot.title = std::move(title);
  plot.x_label = "step";
  plot.y_label = std::move(unit);
  report::Series series;
  for (const StepRecord& step : r.losses.steps) {
    series.points.push_back({static_cast<double>(step.step), step.*field});
  }
  plot.series = {std::move(series)};
  return report::to_svg(plot);
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
  const char* winner = bits_per_byte < baseline ? "the model wins by" : "the n-gram wins by";
  return fmt::format("{:.3f} bits per byte; a 5-gram on the same split has {:.3f}: {} {:.1f} %",
                     bits_per_byte, baseline, winner, share);
}

std::string report_html(const TrainingReport& r) {
  report::HtmlPage page("Training report: " + r.name);
  page.paragraph(result_line(r.bits_per_byte, r.baseline_bits_per_byte));
  page.table({"what", "result"}, result_rows(r));
  page.heading("Curves");
  page.svg(loss_plot(r));
  page.svg(step_plot(r, "Loss of each step", "nats a token", &StepRecord::loss));
  page.svg(step_plot(r, "Learning rate", "rate", &StepRecord::learning_rate));
  page.svg(step_plot(r, "Gradient norm", "norm", &StepRecord::gradient_norm));
  page.heading("Samples");
  page.paragraph("Drawn from the kept weights at temperature 0.8, from the beginning of a text.");
  for (const std::string& sample : r.samples) {
    if (!trim(sample).empty()) page.preformatted(trim(sample));
  }
  page.heading("Data");
  page.table({"part", "documents", "bytes", "tokens"}, data_rows(*r.pipeline));
  page.heading("Options");
  report::Rows rows;
  for (const run::OptionInfo& info : run::option_table()) {
    rows.push_back({std::string(info.key), std::string(r.options->text(info.key)),
                    std::string(r.options->who(info.key))});
  }
  page.table({"key", "value", "decided by"}, rows);
  return page.str();
}

std::string model_card(const TrainingReport& r) {
  std::string out = fmt::format(
      "---\nlibrary_name: quern\npipeline_tag: text-generation\n---\n\n# {}\n\nA decoder-only "
      "transformer ({} block, {} layers, {} heads, width {}, context {}, {} parameters), trained "
      "from scratch with Quern on the text described below.\n\n## Result\n\n",
      r.name, r.config->preset, r.config->layers, r.config->heads, r.config->width,
      r.config->context, with_commas(r.parameters));
  out += report::markdown_table({"what", "result"}, result_rows(r));
  out += "\n## Data\n\n" +
         report::markdown_table({"part", "documents", "bytes", "tokens"}, data_rows(*r.pipeline));
  out +=
      "\nExact copies were removed before the split; the validation part was never trained on. It "
      "did choose the kept step, so its figure is slightly optimistic.\n\n## Use\n\n```\nquern "
      "generate . \"Once\"\n```\n\n## Limits\n\nThe model knows nothing but its training text, and "
      "repeats what stands in it, mistakes and prejudice included. Check what it writes before "
      "using it.\n";
  return out;
}

}  // namespace quern::train
