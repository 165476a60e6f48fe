#include "quern/train/regularisation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace quern::train {
namespace {

struct Rate {
  std::string_view key, what;
};
constexpr Rate kRates[] = {{"regularise.dropout", "dropout"},
                           {"regularise.attention_dropout", "attention dropout"},
                           {"regularise.head_dropout", "head dropout"},
                           {"regularise.drop_path", "drop path"},
                           {"regularise.column_dropout", "columns hidden at rate"},
                           {"regularise.masked_inputs", "rows masked at rate"},
                           {"regularise.token_dropout", "tokens replaced at rate"},
                           {"regularise.randaugment", "RandAugment"},
                           {"regularise.mixup", "mixup"},
                           {"regularise.cutmix", "cutmix"},
                           {"regularise.label_smoothing", "label smoothing"},
                           {"regularise.weight_decay", "weight decay"},
                           {"regularise.ema", "weights averaged with decay"}};

}  // namespace

std::string against_overfitting(const run::Options& options, const TrainResult& result) {
  std::vector<std::string> measures;
  for (const Rate& rate : kRates) {
    if (options.is_auto(rate.key)) continue;  // not of this task
    const double value = options.number(rate.key);
    if (value > 0) measures.push_back(fmt::format("{} {:g}", rate.what, value));
  }
  const std::string_view augment = options.text("regularise.augment");
  if (augment == "light" || augment == "strong")
    measures.push_back(fmt::format("{} augmentation", augment));
  if (!options.is_auto("regularise.ensemble") && options.integer("regularise.ensemble") > 1)
    measures.push_back(
        fmt::format("{} members that share weights", options.integer("regularise.ensemble")));
  const std::string kept =
      result.history.empty()
          ? "no evaluation to choose a step by"
          : fmt::format("of {} evaluations the best was kept", result.history.size());
  const std::string stopped =
      result.stopped_because == StopReason::kPatience ? ", and training stopped early" : "";
  return fmt::format("{}; {}{}",
                     measures.empty() ? "nothing" : fmt::format("{}", fmt::join(measures, ", ")),
                     kept, stopped);
}

}  // namespace quern::train
