#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/run/defaults.h"
#include "quern/sizing/estimate.h"
#include "quern/sizing/scaling_law.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/memory.h"
#include "quern/train/run_setup.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

constexpr double kDay = 86400;
constexpr double kTokensPerParameter = 20;  // Hoffmann et al. 2022
// Llama 3 405B ran at 38 to 43 % of the peak (Grattafiori et al. 2024, table 4).
constexpr double kUsualShare = 0.4;
constexpr double kSaveSeconds = 60;

struct Flags {
  std::string tokens, unique, served, hardware = "this";
  int64_t count = 0;
  double share = 0, days = 0, price = 0;
};

/// "300B", "1.5T", "20M", "5e9" -> a number above 0; 0 where empty.
double parse_count(std::string_view flag, std::string_view text) {
  if (text.empty()) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  const std::string_view suffixes = "kMBT";
  const size_t place = suffix.size() == 1 ? suffixes.find(suffix.front()) : std::string_view::npos;
  if (error != std::errc() || !(value > 0) || !std::isfinite(value) ||
      (!suffix.empty() && place == std::string_view::npos)) {
    throw UsageError("bad_value", fmt::format("{} {} is no number of tokens", flag, text),
                     "give a number, as 5000000, 20M, 300B or 1.5T");
  }
  return suffix.empty() ? value : value * std::pow(1000.0, static_cast<double>(place) + 1);
}

run::Options decided(const Invocation& invocation) {
  run::Options options = invocation.options;
  if (options.is_auto("tokenizer.vocabulary"))
    options.set("tokenizer.vocabulary", int64_t{8192}, run::Layer::kData, "plan");
  run::decide_text(options, {0, 0});
  return options;
}

sizing::Hardware this_machine(const run::Options& options) {
  ThreadPool pool(static_cast<int>(options.integer("threads")));
  sizing::Hardware machine;
  machine.name = "this";
  machine.flops = 1e9 * kernels::cpu::measure_gflops({pool}, false);
  machine.memory = static_cast<double>(train::memory_there(options.bytes("memory")));
  machine.precision = "float32";
  machine.source = fmt::format("measured, {} threads", pool.threads());
  return machine;
}

/// What Quern itself would ask for, as float32 on the processor: the planner's own count.
train::MemoryNeed planned(const model::ModelConfig& config, const run::Options& options,
                          train::EngineOptions& engine, int ranks) {
  const task::TokenStream none{uint64_t{1} << 40, {}};
  const task::TextProblem problem(config, none, none, options.number("regularise.token_dropout"),
                                  engine.seed);
  return train::fit_memory(problem, engine, train::memory_there(options.bytes("memory")), 0, ranks);
}

/// All that one call finds out.
struct Plan {
  model::ModelConfig config;
  sizing::Demand demand;
  sizing::Hardware hardware;
  double unique = 0, served = 0, share = 0, price = 0;
  int64_t count = 1;
  std::optional<int64_t> fewest;  // that hold the model
  std::optional<sizing::Placement> placement;
  train::MemoryNeed need;  // of Quern on this machine
  graph::Recompute recompute;
  double seconds = 0;

  bool here() const { return hardware.name == "this"; }
  double hours() const { return seconds / 3600 * static_cast<double>(count); }
  bool repeats() const { return unique > 0 && unique < demand.tokens; }
  double loss() const {
    return repeats() ? sizing::repeated_loss(demand.parameters, demand.tokens, unique)
                     : sizing::loss(sizing::kBesiroglu, demand.parameters, demand.tokens);
  }
  bool fits() const {
    return here() ? static_cast<double>(need.total()) <= hardware.memory : placement.has_value();
  }
};

void place_on_accelerators(Plan& plan, const Flags& flags) {
  plan.fewest = sizing::fewest_that_fit(plan.demand, plan.hardware);
  if (flags.count > 0) {
    plan.count = flags.count;
  } else {
    plan.count = plan.fewest.value_or(1);
    if (flags.days > 0) {
      // More of them deal out more, so that less may have to be made again.
      for (int round = 0; round < 2; ++round) {
        const auto at = sizing::fit(plan.demand, plan.hardware, plan.count);
        plan.count = std::max(plan.fewest.value_or(1),
                              sizing::fewest_in_time(plan.demand, plan.hardware, plan.share,
                                                     at && at->recompute, flags.days * kDay));
      }
    }
  }
  plan.placement = sizing::fit(plan.demand, plan.hardware, plan.count);
  plan.seconds = sizing::training_seconds(plan.demand, plan.hardware, plan.count, plan.share,
                                          plan.placement && plan.placement->recompute);
}

Plan make_plan(const Invocation& invocation, const Flags& flags) {
  const run::Options options = decided(invocation);
  Plan plan;
  plan.config = run::model_config(options, options.integer("tokenizer.vocabulary"));
  plan.config.validate();
  const double tokens = parse_count("--tokens", flags.tokens);
  plan.demand = sizing::Demand::of(plan.config, tokens);
  if (tokens == 0) plan.demand.tokens = kTokensPerParameter * plan.demand.parameters;
  plan.unique = parse_count("--unique", flags.unique);
  plan.served = parse_count("--served", flags.served);
  plan.share = flags.share > 0 ? flags.share : kUsualShare;
  plan.price = flags.price;
  plan.hardware =
      flags.hardware == "this" ? this_machine(options) : sizing::find_hardware(flags.hardware);
  train::EngineOptions engine = train::engine_options(options, nullptr);
  const int ranks = plan.here() ? static_cast<int>(std::max<int64_t>(1, flags.count)) : 1;
  plan.need = planned(plan.config, options, engine, ranks);
  plan.recompute = engine.recompute;
  if (plan.here()) {
    plan.count = ranks;
    plan.seconds = sizing::training_seconds(plan.demand, plan.hardware, plan.count, plan.share,
                                            engine.recompute.full > 0);
  } else {
    place_on_accelerators(plan, flags);
  }
  return plan;
}

ordered_json to_json(const Plan& plan) {
  const sizing::Demand& demand = plan.demand;
  const sizing::Allocation best =
      sizing::best_allocation(sizing::kBesiroglu, 6 * demand.parameters * demand.tokens);
  ordered_json json{
      {"preset", plan.config.preset},
      {"parameters", static_cast<int64_t>(demand.parameters)},
      {"tokens", demand.tokens},
      {"flops_per_token", demand.flops_per_token},
      {"flops_counted", "training: 6 a parameter of a matrix product, 6 LCT of causal attention"},
      {"hardware",
       {{"name", plan.hardware.name},
        {"flops", plan.hardware.flops},
        {"memory_bytes", plan.hardware.memory},
        {"precision", plan.hardware.precision},
        {"source", plan.hardware.source}}},
      {"share_of_peak", plan.share},
      {"count", plan.count},
      {"fits", plan.fits()},
      {"seconds", plan.seconds},
      {"days", plan.seconds / kDay},
      {"accelerator_hours", plan.hours()},
      {"loss",
       {{"predicted", plan.loss()},
        {"law", plan.repeats() ? "Muennighoff 2023" : "Besiroglu 2024"},
        {"best_parameters", best.parameters},
        {"best_tokens", best.tokens},
        {"best", sizing::loss(sizing::kBesiroglu, best.parameters, best.tokens)}}},
      {"planned_bytes",
       {{"parameters", plan.need.parameters},
        {"exchange", plan.need.exchange},
        {"optimizer", plan.need.optimizer},
        {"activations", plan.need.activations},
        {"total", plan.need.total()},
        {"recomputed_layers", plan.recompute.full}}}};
  if (plan.price > 0) json["cost"] = plan.price * plan.hours();
  if (!plan.here()) {
    json["fewest_that_fit"] = plan.fewest ? ordered_json(*plan.fewest) : ordered_json(nullptr);
    json["expected_failures"] = sizing::expected_failures(plan.hours());
    json["checkpoint_every_seconds"] = sizing::checkpoint_interval(plan.count, kSaveSeconds);
  }
  if (plan.placement) {
    json["placement"] = {{"zero_stage", plan.placement->stage},
                         {"recompute", plan.placement->recompute},
                         {"state_bytes", plan.placement->state},
                         {"activation_bytes", plan.placement->activations}};
  }
  if (plan.served > 0) {
    const sizing::Allocation use = sizing::best_allocation_for_use(
        sizing::kBesiroglu, sizing::loss(sizing::kBesiroglu, demand.parameters, demand.tokens),
        plan.served);
    json["for_use"] = {{"parameters", use.parameters}, {"tokens", use.tokens}};
  }
  return json;
}

std::string human(const Plan& plan) {
  const sizing::Demand& demand = plan.demand;
  const auto bytes = [](auto count) { return format_bytes(static_cast<double>(count)); };
  std::string text = fmt::format(
      "model     {}, {} layers, width {}, context {}: {} parameters, {}FLOP a token\n"
      "tokens    {} ({:.3g} a parameter)\n"
      "loss      {:.3f} nats a token may be reached (published fits on web text)\n",
      plan.config.preset, plan.config.layers, plan.config.width, plan.config.context,
      format_count(demand.parameters), format_count(demand.flops_per_token),
      format_count(demand.tokens), demand.tokens / demand.parameters, plan.loss());
  text += fmt::format(
      "here      Quern needs {} in float32: {} parameters, {} optimizer, {} "
      "activations ({} layers made again)\n",
      bytes(plan.need.total()), bytes(plan.need.parameters), bytes(plan.need.optimizer),
      bytes(plan.need.activations), plan.recompute.full);
  text += fmt::format("hardware  {} × {}, {}FLOP/s {} at {:.0f} % ({})\n", plan.count,
                      plan.hardware.name, format_count(plan.hardware.flops),
                      plan.hardware.precision, 100 * plan.share, plan.hardware.source);
  if (plan.placement) {
    text += fmt::format("memory    {} of {} each (ZeRO stage {}{}); {} hold the model at least\n",
                        bytes(plan.placement->total()), bytes(plan.hardware.memory),
                        plan.placement->stage,
                        plan.placement->recompute ? ", activations made again" : "", *plan.fewest);
  } else if (!plan.fits()) {
    text += fmt::format("memory    does not fit: {}\n",
                        plan.fewest ? fmt::format("{} hold it at least", *plan.fewest)
                                    : std::string("not in any number of them"));
  }
  text += fmt::format(
      "time      {}, {:.3g} accelerator-hours{}\n", format_duration(plan.seconds), plan.hours(),
      plan.price > 0 ? fmt::format(", cost {:.4g}", plan.price * plan.hours()) : "");
  if (!plan.here()) {
    text += fmt::format("failures  {:.2g} to expect; save every {}\n",
                        sizing::expected_failures(plan.hours()),
                        format_duration(sizing::checkpoint_interval(plan.count, kSaveSeconds)));
  }
  return text;
}

}  // namespace

Action declare_plan(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  add_option_flags(
      arguments, invocation,
      {{"--preset", "model.preset"}, {"--size", "model.size"}, {"--memory", "memory"}});
  arguments
      .value("--tokens", flags->tokens,
             "Tokens to train on, repeats counted, as 300B (20 a parameter)")
      .type_name("N");
  arguments.value("--unique", flags->unique, "Of these so many differ").type_name("N");
  arguments.value("--served", flags->served, "Tokens that the model will read and write in use")
      .type_name("N");
  arguments
      .value("--hardware", flags->hardware,
             "this, or an accelerator: v100, a100, h100, h200, b200, rtx4090 (this)")
      .type_name("NAME");
  arguments.value("--count", flags->count, "How many of it (as many as needed)")
      .between(1, 10'000'000)
      .type_name("N");
  arguments.value("--days", flags->days, "Days in which training must be done")
      .positive()
      .type_name("D");
  arguments.value("--share", flags->share, "Share of the peak that training reaches (0.4)")
      .positive()
      .type_name("S");
  arguments.value("--price", flags->price, "Of an hour of one, in any currency")
      .positive()
      .type_name("P");
  return [flags](Invocation& in) {
    const Plan plan = make_plan(in, *flags);
    in.print(in.json ? to_json(plan).dump() + "\n" : human(plan));
    return 0;
  };
}

}  // namespace quern::cli
