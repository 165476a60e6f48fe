#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/interrupt.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/explain/diagnosis.h"
#include "quern/explain/diagnosis_html.h"
#include "quern/explain/interval_json.h"
#include "quern/formats/json.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string run, html, retrain;
  std::vector<std::string> data, training;
  double limit = 0.25;
};

ordered_json overfitting_json(const explain::Diagnosis& d) {
  const explain::Membership& m = d.membership;
  ordered_json json{
      {"verdict", name(d.overfit)}, {"held_out", d.held_out},
      {"train_loss", m.train_loss}, {"held_out_loss", m.held_out_loss},
      {"gap", m.gap.value},         {"gap_low", m.gap.low},
      {"gap_high", m.gap.high},     {"membership_auc", explain::interval_json(m.auc)}};
  if (!d.retraining) return json;
  const auto one = [](const explain::Relearned& r) {
    return ordered_json{
        {"fraction", r.fraction}, {"rows", r.rows}, {"loss", r.loss}, {"score", r.score}};
  };
  json["metric"] = d.retraining->metric;
  for (const explain::Relearned& point : d.retraining->curve) {
    json["learning_curve"].push_back(one(point));
  }
  json["shuffled_answers"] = one(d.retraining->shuffled);
  return json;
}

ordered_json calibration_json(const explain::Calibration& c) {
  ordered_json json{{"of", c.of}, {"rows", c.rows}};
  if (c.coverage) {
    json["coverage_of_90"] = explain::interval_json(*c.coverage);
    return json;
  }
  ordered_json intervals;
  for (const metrics::Score& score : c.scores) {
    json[score.name] = score.interval.value;
    intervals[score.name] = explain::interval_json(score.interval);
  }
  json["intervals"] = intervals;
  json["temperature"] = c.temperature;
  json["further_temperature"] = c.temperature_left;
  json["reliability"] = ordered_json::array();
  for (const metrics::ReliabilityBin& bin : c.bins) {
    json["reliability"].push_back(
        {{"probability", bin.probability}, {"frequency", bin.frequency}, {"rows", bin.rows}});
  }
  return json;
}

std::string to_json(const explain::Diagnosis& d) {
  ordered_json json{
      {"run", d.run}, {"task", d.task}, {"device", d.device}, {"overfitting", overfitting_json(d)}};
  json["calibration"] = d.calibration ? calibration_json(*d.calibration) : ordered_json(nullptr);
  json["leakage"] = {{"of", d.compared},
                     {"rows", d.leakage.rows},
                     {"exact", d.leakage.exact},
                     {"near", d.leakage.near}};
  json["drift"] = {{"of", d.compared}, {"limit", d.drift_limit}, {"found", d.drifted()}};
  json["drift"]["columns"] = ordered_json::array();
  for (const explain::ColumnDrift& one : d.drift) {
    json["drift"]["columns"].push_back(
        {{"name", one.name},
         {"psi", one.stability},
         {"psi_by_chance", one.by_chance},
         {"ks", one.ks ? ordered_json(*one.ks) : ordered_json(nullptr)},
         {"missing_before", one.missing_before},
         {"missing_now", one.missing_after},
         {"drifted", one.drifted}});
  }
  json["verdicts"] = d.verdicts;
  return formats::json_text(json);
}

std::string to_text(const explain::Diagnosis& d) {
  std::string text;
  for (const std::string& verdict : d.verdicts) text += verdict + "\n";
  if (d.drift.empty()) return text;
  text += fmt::format("\n{:<28} {:>8} {:>10} {:>8}\n", "column", "PSI", "by chance", "KS");
  constexpr size_t kShown = 12;
  for (size_t i = 0; i < d.drift.size() && i < kShown; ++i) {
    const explain::ColumnDrift& one = d.drift[i];
    text += fmt::format("{:<28} {:>8.4f} {:>10.4f} {:>8}{}\n", one.name, one.stability,
                        one.by_chance, one.ks ? fmt::format("{:.4f}", *one.ks) : "-",
                        one.drifted ? "  over the limit" : "");
  }
  if (d.drift.size() > kShown) text += fmt::format("and {} more\n", d.drift.size() - kShown);
  return text;
}

int run_diagnose(Invocation& invocation, const Flags& flags) {
  explain::DiagnoseRequest request;
  request.run = flags.run;
  request.data = {flags.data.begin(), flags.data.end()};
  request.training = {flags.training.begin(), flags.training.end()};
  request.table = table_options(invocation).table;
  request.drift_limit = flags.limit;
  request.seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  request.threads = static_cast<int>(invocation.options.integer("threads"));
  request.gpu = invocation.gpu.get();
  if (!flags.retrain.empty()) {
    run::Options time;
    time.set("train.time", flags.retrain, run::Layer::kExplicit, "--retrain");
    request.retrain_seconds = time.duration("train.time");
  }
  const InterruptGuard guard;
  const explain::Diagnosis diagnosis = explain::diagnose(request, *invocation.reporter);
  if (!flags.html.empty()) write_output(invocation, flags.html, explain::diagnosis_html(diagnosis));
  if (flags.html != "-")
    invocation.print(invocation.json ? to_json(diagnosis) : to_text(diagnosis));
  return static_cast<int>(diagnosis.drifted() ? ExitCode::kFound : ExitCode::kDone);
}

}  // namespace

Action declare_diagnose(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  arguments.value("RUN", flags->run, "The run folder that quern train wrote").required();
  arguments.value("DATA", flags->data,
                  "New rows, with or without answers; none: the rows held out");
  add_table_flag(arguments, invocation);
  arguments
      .value("--training", flags->training,
             "The data that the run learned from, where it has moved")
      .type_name("FILE");
  arguments
      .value("--drift-limit", flags->limit,
             "Population stability index above which a column has drifted (0.25)")
      .positive();
  arguments
      .value(
          "--retrain", flags->retrain,
          "Also learn afresh for so long in all, as 2m: a learning curve by share of rows, and a "
          "control with answers dealt out at random")
      .type_name("TIME");
  arguments.value("--html", flags->html, "Also write the diagnosis as one HTML page")
      .type_name("FILE");
  arguments.footer("Exits with 3 when a column of new rows has drifted over the limit.");
  return [flags](Invocation& in) { return run_diagnose(in, *flags); };
}

}  // namespace quern::cli
