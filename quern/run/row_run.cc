#include "quern/run/row_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/formats/json.h"

namespace quern::run {

std::string to_json(const RowPipeline& p) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(to_json(p.record));
  json["task"] = p.task;
  json["target"] = p.target;
  json["classes"] = p.classes;
  json["positive"] = p.positive;
  json["threshold"] = p.threshold;
  json["threshold_metric"] = p.threshold_metric;
  json["temperature"] = p.temperature;
  json["mean"] = p.mean;
  json["deviation"] = p.deviation;
  json["interval"] = p.interval;
  json["columns"] = p.columns.to_json();
  return json.dump(1) + "\n";
}

RowPipeline row_pipeline_from_json(std::string_view text, std::string_view where) {
  RowPipeline p;
  p.record = pipeline_from_json(text, where);
  const nlohmann::json json = formats::parse_json(text, where);
  try {
    p.task = json.at("task").get<std::string>();
    p.target = json.at("target").get<std::string>();
    p.classes = json.at("classes").get<std::vector<std::string>>();
    p.positive = json.at("positive").get<int>();
    p.threshold = json.at("threshold").get<double>();
    p.threshold_metric = json.at("threshold_metric").get<std::string>();
    p.temperature = json.at("temperature").get<double>();
    p.mean = json.at("mean").get<double>();
    p.deviation = json.at("deviation").get<double>();
    p.interval = json.at("interval").get<double>();
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(fmt::format("{}: not a pipeline of Quern's: {}", where, error.what()),
                      "restore it from a copy of the run folder");
  }
  const auto count = static_cast<int>(p.classes.size());
  const bool classify = p.task == "classify" && count >= 2 && p.positive >= -1 &&
                        p.positive < count && p.temperature > 0;
  const bool regress = p.task == "regress" && std::isfinite(p.mean) && p.deviation > 0;
  if (!classify && !regress) {
    throw FormatError(fmt::format("{}: classes, temperature or target do not hold together", where),
                      "restore it from a copy of the run folder");
  }
  p.columns =
      features::ColumnEncoder::from_json(json.value("columns", nlohmann::json::object()), where);
  return p;
}

size_t chosen_class(const RowPipeline& pipeline, std::span<const float> probabilities) {
  if (pipeline.positive < 0)
    return static_cast<size_t>(std::ranges::max_element(probabilities) - probabilities.begin());
  const auto positive = static_cast<size_t>(pipeline.positive);
  const bool yes = static_cast<double>(probabilities[positive]) >= pipeline.threshold;
  return yes ? positive : 1 - positive;
}

void save_model(const fs::path& folder, const model::EncoderConfig& config,
                const graph::ParameterStore& parameters) {
  save_weights(folder, parameters);
  write_file(folder / kConfigFile, model::to_json(config));
}

RowRun load_row_run(const fs::path& folder) {
  const std::string task = task_of(folder);
  if (task != "classify" && task != "regress") {
    throw Error(
        "other_task",
        fmt::format("{}: this run learnt to {}, so it predicts no column", folder.string(), task),
        task == "recommend" ? "use quern recommend" : "use quern generate");
  }
  RowRun run;
  run.folder = folder;
  const std::string where = (folder / kPipelineFile).string();
  run.pipeline =
      row_pipeline_from_json(read_part(folder, kPipelineFile, "which prepares the data"), where);
  run.config = model::encoder_from_json(read_part(folder, kConfigFile, "which describes the model"),
                                        (folder / kConfigFile).string());
  const auto& columns = run.pipeline.columns;
  std::vector<int64_t> categories;
  for (const auto& feature : columns.categories()) categories.push_back(feature.size());
  const int64_t outputs =
      task == "classify" ? static_cast<int64_t>(run.pipeline.classes.size()) : 1;
  const auto& picture = columns.picture();
  const bool pictures = run.config.image.height == picture.height &&
                        run.config.image.width == picture.width &&
                        run.config.image.channels == picture.channels;
  const bool bins = run.config.numbers == 0 || run.config.number_bins >= columns.number_bins();
  if (run.config.numbers != static_cast<int64_t>(columns.numbers().size()) || !bins || !pictures ||
      run.config.categories != categories || run.config.outputs != outputs ||
      (run.config.answer == model::Answer::kClass) != (task == "classify")) {
    throw Error(
        "weights_do_not_fit",
        fmt::format("{}: pipeline.json and config.json are of different models", folder.string()),
        "restore both from one run");
  }
  model::declare_encoder(run.config, run.parameters);
  load_weights(folder, run.parameters);
  if (run.config.linear)
    run.linear = features::LinearScore::load(folder / kLinearFile, columns, run.config.outputs);
  if (run.config.has_text()) {
    const std::string text = read_part(folder, kTokenizerFile, "which turns text into tokens");
    run.tokenizer = features::Tokenizer::from_json(text, (folder / kTokenizerFile).string());
    if (static_cast<int64_t>(run.tokenizer->vocabulary()) > run.config.trunk.vocabulary) {
      throw Error("tokenizer_does_not_fit",
                  fmt::format("{}: tokenizer.json has {} tokens, the model {}", folder.string(),
                              run.tokenizer->vocabulary(), run.config.trunk.vocabulary),
                  "restore both from one run");
    }
  }
  return run;
}

}  // namespace quern::run
