#include "quern/train/experiment_log.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "quern/base/strings.h"
#include "quern/formats/json.h"
#include "quern/run/run_folder.h"
#include "quern/train/repetition.h"

namespace quern::train {
namespace {

constexpr int64_t kCurveEvery = 10;      // steps between points of the step curves
constexpr int64_t kHistogramsEvery = 5;  // evaluations

nlohmann::json to_json(const StepRecord& r) {
  return {{"kind", "step"},
          {"step", r.step},
          {"loss", r.loss},
          {"learning_rate", r.learning_rate},
          {"seconds", r.seconds},
          {"gradient_norm", r.gradient_norm},
          {"tokens_per_second", r.tokens_per_second}};
}

nlohmann::json to_json(const EvaluationRecord& r) {
  return {{"kind", "evaluation"},
          {"step", r.step},
          {"train_loss", r.train_loss},
          {"validation_loss", r.validation_loss},
          {"learning_rate", r.learning_rate},
          {"seconds", r.seconds},
          {"best", r.best}};
}

/// Parses a line, or nothing where it was cut short by a crash.
nlohmann::json parse_line(std::string_view line) {
  return nlohmann::json::parse(line, nullptr, false);
}

}  // namespace

ExperimentLog::ExperimentLog(const fs::path& folder, double bytes_per_token,
                             std::function<std::string(Engine&)> sample)
    : folder_(folder),
      bytes_per_token_(bytes_per_token),
      sample_(std::move(sample)),
      events_(folder) {}

AppendFile& ExperimentLog::log() {
  if (!log_) log_.emplace(folder_ / run::kLogFile);
  return *log_;
}

void ExperimentLog::on_resume(int64_t step) {
  const fs::path path = folder_ / run::kLogFile;
  std::string kept;
  if (fs::exists(path)) {
    for (const std::string& line : split(read_file(path), '\n')) {
      const nlohmann::json json = parse_line(line);
      if (json.is_object() && json.value("step", int64_t{0}) <= step) kept += line + "\n";
    }
  }
  write_file(path, kept);
  events_.resume_at(step + 1);
}

void ExperimentLog::on_step(const StepRecord& record) {
  log().write(to_json(record).dump() + "\n");
  if (record.step % kCurveEvery != 0 && record.step > 1) return;
  events_.scalar("loss/train", record.step, record.loss);
  events_.scalar("learning_rate", record.step, record.learning_rate);
  events_.scalar("gradient_norm", record.step, record.gradient_norm);
  events_.scalar("tokens_per_second", record.step, record.tokens_per_second);
}

void ExperimentLog::on_evaluation(const EvaluationRecord& record, Engine& engine) {
  log().write(to_json(record).dump() + "\n");
  events_.scalar("loss/validation", record.step, record.validation_loss);
  if (bytes_per_token_ > 0) {
    events_.scalar("bits_per_byte", record.step,
                   bits_per_byte(record.validation_loss, bytes_per_token_));
  }
  if (scores_) {
    for (const auto& [name, value] : scores_())
      if (std::isfinite(value)) events_.scalar("validation/" + name, record.step, value);
  }
  if (evaluations_++ % kHistogramsEvery != 0) return;
  histograms(record.step, engine);
  if (sample_) take_sample(record.step, engine);
}

void ExperimentLog::take_sample(int64_t step, Engine& engine) {
  const std::string text = sample_(engine);
  events_.text("sample", step, "```\n" + text + "\n```");
  const Repetition repetition = repetition_of(text);
  events_.scalar("generation/different_pairs", step, repetition.different_pairs);
  events_.scalar("generation/longest_repeat", step, repetition.longest_repeat);
  log().write(formats::json_text({{"kind", "sample"}, {"step", step}, {"text", text}}));
}

void ExperimentLog::histograms(int64_t step, Engine& engine) {
  graph::ParameterStore& parameters = engine.parameters();
  for (size_t i = 0; i < parameters.parameters().size(); ++i) {
    const auto index = static_cast<int32_t>(i);
    const std::string& name = parameters.parameters()[i].name;
    events_.histogram("weights/" + name, step,
                      formats::histogram(parameters.value(index).f32_span()));
    if (!engine.has_whole_gradient()) continue;
    events_.histogram("gradients/" + name, step,
                      formats::histogram(parameters.gradient(index).f32_span()));
  }
}

void ExperimentLog::write_options(const run::Options& options,
                                  std::span<const std::string> metric_tags) {
  std::vector<formats::HyperParameter> settings;
  for (const run::OptionInfo& info : run::option_table()) {
    const std::string_view text = options.text(info.key);
    if (text.empty()) continue;
    const bool number = text != "auto" && (info.type == run::OptionType::kInteger ||
                                           info.type == run::OptionType::kNumber);
    if (number) {
      settings.push_back({std::string(info.key), options.number(info.key)});
    } else {
      settings.push_back({std::string(info.key), std::string(text)});
    }
  }
  events_.hyper_parameters(settings, metric_tags, "quern");
}

void ExperimentLog::finish(const TrainResult& result) {
  if (result.stopped_because != StopReason::kInterrupted) {
    events_.scalar("final/loss_train", result.best_step, result.train.loss);
    events_.scalar("final/loss_validation", result.best_step, result.validation.loss);
    if (bytes_per_token_ > 0) {
      events_.scalar("final/bits_per_byte", result.best_step,
                     bits_per_byte(result.validation.loss, bytes_per_token_));
    }
    events_.end_session(formats::SessionEnd::kSuccess);
  }
  events_.flush();
}

LoggedLosses read_log(const fs::path& log_file) {
  LoggedLosses losses;
  if (!fs::exists(log_file)) return losses;
  for (const std::string& line : split(read_file(log_file), '\n')) {
    const nlohmann::json json = parse_line(line);
    if (!json.is_object()) continue;
    const std::string kind = json.value("kind", "");
    if (kind == "step") {
      losses.steps.push_back({json.value("step", int64_t{0}), json.value("loss", 0.0),
                              json.value("learning_rate", 0.0), json.value("gradient_norm", 0.0),
                              json.value("seconds", 0.0), json.value("tokens_per_second", 0.0)});
    } else if (kind == "evaluation") {
      losses.evaluations.push_back({json.value("step", int64_t{0}), json.value("train_loss", 0.0),
                                    json.value("validation_loss", 0.0),
                                    json.value("learning_rate", 0.0), json.value("seconds", 0.0),
                                    json.value("best", false)});
    }
  }
  return losses;
}

}  // namespace quern::train
