#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "quern/data/interactions.h"
#include "quern/features/item_sequences.h"
#include "quern/features/item_sides.h"
#include "quern/run/options.h"
#include "quern/run/run_folder.h"

namespace quern::run {

/// What each user took, beside the model.
inline constexpr std::string_view kHistoriesFile = "histories.jsonl";

/// What is fitted beside the weights of a model that recommends.
struct ItemPipeline {
  data::LogColumns columns;
  features::ItemVocabulary items;
  features::ItemSides sides;  // without columns: none
  std::string protocol;       // how the scores were taken
  Pipeline record;
};
std::string to_json(const ItemPipeline& pipeline);
/// Throws FormatError, or Error("newer_version").
ItemPipeline item_pipeline_from_json(std::string_view text, std::string_view where);

struct ItemRun {
  fs::path folder;
  ItemPipeline pipeline;
  model::ModelConfig config;
  graph::ParameterStore parameters;  // without gradients
  features::Histories histories;     // of the known users, whole
};
/// As load_run, of a run that recommends. Throws Error("other_task") for another.
ItemRun load_item_run(const fs::path& folder);

/// A log by the run's columns: in the order of the file where the run took it so, or where the log
/// has no times. Throws as read_interactions.
data::Interactions read_log(const data::Table& table, const ItemRun& run, Reporter& reporter);

/// What the users of such a log took; items that the run does not know are 0. Notes how many.
features::Histories histories_of(const data::Interactions& log, const ItemRun& run,
                                 Reporter& reporter);

/// Divides a log as data.split and data.validation say. Throws UsageError for words that divide no
/// log, and as split_histories.
features::HistorySplit split_log(const data::Interactions& log, const Options& options);

/// How many items a list has: k, without it ten or as many as there are. Throws UsageError where no
/// list of k can be made of so many items.
uint32_t list_length(std::optional<int64_t> k, size_t items);

}  // namespace quern::run
