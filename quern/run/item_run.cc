#include "quern/run/item_run.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/formats/json.h"

namespace quern::run {

std::string to_json(const ItemPipeline& p) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(to_json(p.record));
  json["task"] = "recommend";
  json["columns"] = {{"user", p.columns.user}, {"item", p.columns.item}, {"time", p.columns.time}};
  json["protocol"] = p.protocol;
  json["items"] = p.items.names();
  json["item_counts"] = p.items.counts();
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
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
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(fmt::format("{}: not a pipeline of Quern's: {}", where, error.what()),
                      "restore it from a copy of the run folder");
  }
  return p;
}

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
  if (run.config.vocabulary != static_cast<int64_t>(run.pipeline.items.size()) + 1) {
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

}  // namespace quern::run
