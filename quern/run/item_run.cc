#include "quern/run/item_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/formats/json.h"
#include "quern/run/defaults.h"

namespace quern::run {

std::string to_json(const ItemPipeline& p) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(to_json(p.record));
  json["task"] = "recommend";
  json["columns"] = {{"user", p.columns.user}, {"item", p.columns.item}, {"time", p.columns.time}};
  json["protocol"] = p.protocol;
  json["items"] = p.items.names();
  json["item_counts"] = p.items.counts();
  if (!p.sides.columns.empty()) {
    json["item_sides"] = {{"columns", p.sides.columns},
                          {"rows", p.sides.rows},
                          {"slots", p.sides.slots},
                          {"codes", p.sides.codes}};
  }
  return formats::json_text(json, 1);
}

ItemPipeline item_pipeline_from_json(std::string_view text, std::string_view where) {
  ItemPipeline p;
  p.record = pipeline_from_json(text, where);
  const nlohmann::json json = formats::parse_json(text, where);
  try {
    const nlohmann::json& columns = json.at("columns");
    p.columns = {columns.at("user").get<std::string>(), columns.at("item").get<std::string>(),
                 columns.at("time").get<std::string>()};
    p.protocol = json.at("protocol").get<std::string>();
    p.items = {json.at("items").get<std::vector<std::string>>(),
               json.at("item_counts").get<std::vector<uint64_t>>()};
    if (json.contains("item_sides")) {
      const nlohmann::json& sides = json.at("item_sides");
      p.sides = {sides.at("columns").get<std::vector<std::string>>(),
                 sides.at("rows").get<int64_t>(), sides.at("slots").get<int64_t>(),
                 sides.at("codes").get<std::vector<int32_t>>()};
    }
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(fmt::format("{}: not a pipeline of Quern's: {}", where, error.what()),
                      "restore it from a copy of the run folder");
  }
  return p;
}

namespace {

/// Weights and items of one run: each item has a row of weights, or is known by its side columns.
bool fits(const ItemRun& run) {
  const features::ItemSides& sides = run.pipeline.sides;
  const auto items = static_cast<int64_t>(run.pipeline.items.size()) + 1;
  if (run.config.side_slots == 0) return sides.columns.empty() && run.config.vocabulary == items;
  return sides.slots == run.config.side_slots && sides.rows == run.config.side_rows &&
         run.config.vocabulary <= items &&
         static_cast<int64_t>(sides.codes.size()) == items * sides.slots &&
         std::all_of(sides.codes.begin(), sides.codes.end(),
                     [&](int32_t code) { return code >= -1 && code < sides.rows; });
}

}  // namespace

ItemRun load_item_run(const fs::path& folder) {
  const std::string task = task_of(folder);
  if (task != "recommend") {
    throw Error(
        "other_task",
        fmt::format("{}: this run learnt to {}, so it recommends nothing", folder.string(), task),
        task == "generate" ? "use quern generate" : "use quern predict");
  }
  ItemRun run;
  run.folder = folder;
  run.pipeline = item_pipeline_from_json(read_part(folder, kPipelineFile, "which names the items"),
                                         (folder / kPipelineFile).string());
  load_model(folder, run.config, run.parameters);
  if (!fits(run)) {
    throw Error("weights_do_not_fit",
                fmt::format("{}: pipeline.json has {} items, the model {}", folder.string(),
                            run.pipeline.items.size(), run.config.vocabulary - 1),
                "restore both from one run");
  }
  run.histories = features::histories_from_json_lines(
      read_part(folder, kHistoriesFile, "which holds what users took"),
      (folder / kHistoriesFile).string(), run.pipeline.items.size());
  return run;
}

data::Interactions read_log(const data::Table& table, const ItemRun& run, Reporter& reporter) {
  data::LogColumns columns = run.pipeline.columns;
  if (columns.time.empty()) {
    columns.time = data::kNoTime;
  } else if (table.find(columns.time) < 0) {
    columns.time.clear();
  }
  return data::read_interactions(table, columns, reporter);
}

features::Histories histories_of(const data::Interactions& log, const ItemRun& run,
                                 Reporter& reporter) {
  features::Histories histories{log.users, features::ids_of(log, run.pipeline.items)};
  int64_t unknown = 0;
  for (const std::vector<uint32_t>& ids : histories.items)
    unknown += std::count(ids.begin(), ids.end(), 0U);
  if (unknown > 0) {
    reporter.note(
        fmt::format("{} interactions are with items that the run does not know", unknown));
  }
  return histories;
}

features::HistorySplit split_log(const data::Interactions& log, const Options& options) {
  const std::string_view mode = options.text("data.split");
  if (mode != "auto" && mode != "last" && mode != "time") {
    throw UsageError("bad_value", fmt::format("data.split = {} divides no log of users", mode),
                     "give last (each user's last item) or time (one moment for all)");
  }
  return features::split_histories(log, mode == "time", validation_share(options));
}

uint32_t list_length(std::optional<int64_t> k, size_t items) {
  constexpr size_t kUsual = 10;
  if (!k) return static_cast<uint32_t>(std::min(kUsual, items));
  if (*k >= 1 && static_cast<size_t>(*k) <= items) return static_cast<uint32_t>(*k);
  throw UsageError("bad_value", fmt::format("-k {}: the run knows {} items", *k, items),
                   fmt::format("give a number from 1 to {}", items));
}

}  // namespace quern::run
