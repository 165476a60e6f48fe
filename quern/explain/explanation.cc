#include "quern/explain/explanation.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "quern/base/strings.h"
#include "quern/explain/interval_json.h"
#include "quern/report/terminal_bars.h"

namespace quern::explain {
namespace {

nlohmann::ordered_json to_json(const ReasonReport& report) {
  nlohmann::ordered_json json{{"principal", nlohmann::ordered_json::array()},
                              {"withheld", nlohmann::ordered_json::array()}};
  for (const ReasonReport::Reason& reason : report.reasons) {
    json["principal"].push_back({{"code", reason.code},
                                 {"text", reason.text},
                                 {"column", reason.column},
                                 {"value", reason.value},
                                 {"beside_reference", reason.side},
                                 {"phi", reason.phi},
                                 {"effect_alone", reason.effect}});
  }
  for (const ReasonReport::Withheld& one : report.withheld) {
    json["withheld"].push_back(
        {{"column", one.column}, {"value", one.value}, {"phi", one.phi}, {"why", one.why}});
  }
  return json;
}

nlohmann::ordered_json to_json(const Counterfactual& counterfactual) {
  nlohmann::ordered_json json{{"found", counterfactual.found},
                              {"from", counterfactual.from_class},
                              {"to", counterfactual.to_class},
                              {"probability_before", counterfactual.before},
                              {"probability_after", counterfactual.after},
                              {"changes", nlohmann::ordered_json::array()}};
  for (const Counterfactual::Change& change : counterfactual.changes) {
    json["changes"].push_back(
        {{"column", change.column}, {"from", change.from}, {"to", change.to}});
  }
  return json;
}

nlohmann::ordered_json to_json(const LocalModel& local) {
  return {{"value", local.value},
          {"r_squared", local.r_squared},
          {"samples", local.samples},
          {"stable_order", local.stable}};
}

std::string local_model_line(const Attribution& a) {
  return fmt::format(
      "Contributions are the coefficients of a linear model fitted to {} samples near the input; ± "
      "is half of the 95 % interval. For the input itself it answers {:.6g} (completeness error "
      "{:.2g}) and explains {:.0f} % of the spread around it; the order of its strongest parts is "
      "{} of sampling error.",
      a.local->samples, a.local->value, a.completeness_error(), 100 * a.local->r_squared,
      a.local->stable ? "clear" : "not clear");
}

nlohmann::ordered_json to_json(const Audit& audit) {
  const Faithfulness& f = audit.faithfulness;
  return {{"deletion_area", f.deletion_area},
          {"insertion_area", f.insertion_area},
          {"random_deletion", interval_json(f.random_deletion)},
          {"random_insertion", interval_json(f.random_insertion)},
          {"advantage", interval_json(f.advantage)},
          {"deletion", f.deletion},
          {"insertion", f.insertion},
          {"randomised_weights_rank_correlation", audit.randomised_correlation},
          {"evaluations", f.evaluations}};
}

std::string_view how_sure(const Attribution& a) {
  if (a.exact) return "The contributions are exact, not sampled.";
  const bool sampled = std::ranges::any_of(a.margins, [](double margin) { return margin > 0; });
  return sampled ? "The contributions are sampled: ± is half of the 95 % interval."
                 : "Nothing is sampled: the error says what the method leaves out.";
}

nlohmann::ordered_json to_json(const InfluenceReport& influence) {
  nlohmann::ordered_json json{
      {"method", "TracIn"}, {"rows", influence.rows}, {"weights", influence.weights}};
  for (const auto& [name, rows] :
       {std::pair{"raising", &influence.raising}, {"lowering", &influence.lowering}}) {
    json[name] = nlohmann::ordered_json::array();
    for (const InfluenceReport::Row& row : *rows) {
      json[name].push_back(
          {{"where", row.where}, {"answer", row.answer}, {"influence", row.influence}});
    }
  }
  return json;
}

nlohmann::ordered_json interactions_json(const Explanation& e) {
  nlohmann::ordered_json json{{"index", "Shapley interaction index"},
                              {"exact", e.interactions->exact},
                              {"evaluations", e.interactions->evaluations},
                              {"pairs", nlohmann::ordered_json::array()}};
  for (const ShownInteraction& one : shown_interactions(e)) {
    json["pairs"].push_back({{"a", one.a},
                             {"b", one.b},
                             {"value", one.value},
                             {"standard_error", one.standard_error},
                             {"low", one.value - one.margin},
                             {"high", one.value + one.margin}});
  }
  return json;
}

}  // namespace

std::vector<size_t> group_players(std::vector<ExplainedPart>& parts, size_t players, bool words) {
  std::vector<size_t> group_of(players);
  std::iota(group_of.begin(), group_of.end(), size_t{0});
  if (!words) return group_of;
  std::map<std::string, size_t, std::less<>> places;
  for (ExplainedPart& part : parts) {
    if (part.player < 0) continue;
    const size_t group = places.emplace(trim(part.name), places.size()).first->second;
    group_of[static_cast<size_t>(part.player)] = group;
    part.player = static_cast<int>(group);
  }
  return group_of;
}

std::vector<const ExplainedPart*> Explanation::ranked() const {
  std::vector<const ExplainedPart*> by_player(attribution.phi.size());
  for (const ExplainedPart& part : parts) {
    if (part.player < 0) continue;
    const ExplainedPart*& first = by_player[static_cast<size_t>(part.player)];
    if (first == nullptr) first = &part;
  }
  std::vector<const ExplainedPart*> ranked;
  for (const size_t player : attribution.ranking()) ranked.push_back(by_player[player]);
  return ranked;
}

std::string influence_line(const InfluenceReport& influence) {
  return fmt::format(
      "Training rows whose steps moved this answer most (TracIn: products of gradients at {} set{} "
      "of weights), of {} looked at.",
      influence.weights, influence.weights == 1 ? "" : "s", influence.rows);
}

std::string attention_line(const Explanation& e) {
  std::vector<const ExplainedPart*> parts = e.ranked();
  const auto flow = [&](const ExplainedPart* part) {
    return (*e.attention)[static_cast<size_t>(part->player)];
  };
  std::ranges::stable_sort(parts, std::greater(), flow);
  std::string line = "Attention rollout (where attention flows from; it is no attribution):";
  for (size_t i = 0; i < std::min<size_t>(parts.size(), 8); ++i) {
    line += fmt::format("{} {} {:.1f} %", i == 0 ? "" : ",", trim(parts[i]->label()),
                        100 * flow(parts[i]));
  }
  return line + ".";
}

void add_interactions(Game& game, const EstimateOptions& options, size_t shown,
                      Explanation& explanation) {
  if (shown == 0) return;
  explanation.interactions = interactions(game, options);
  explanation.interactions_shown = shown;
}

std::vector<ShownInteraction> shown_interactions(const Explanation& e) {
  std::vector<ShownInteraction> shown;
  if (!e.interactions) return shown;
  std::vector<std::string> labels(e.interactions->players);
  for (const ExplainedPart* part : e.ranked())
    labels[static_cast<size_t>(part->player)] = std::string(trim(part->label()));
  for (const auto& [a, b] : e.interactions->strongest(e.interactions_shown)) {
    const size_t at = a * e.interactions->players + b;
    shown.push_back({labels[a], labels[b], e.interactions->index[at],
                     e.interactions->standard_errors[at], e.interactions->margins[at]});
  }
  return shown;
}

nlohmann::ordered_json to_json(const Explanation& e) {
  const Attribution& a = e.attribution;
  nlohmann::ordered_json json{
      {"run", e.run},     {"task", e.task},           {"device", e.device},
      {"input", e.input}, {"target", e.target},       {"answer", e.answer},
      {"unit", e.unit},   {"method", a.method},       {"reason", a.reason},
      {"exact", a.exact}, {"converged", a.converged}, {"mask_policy", e.mask_policy},
      {"base", a.base},   {"value", a.value}};
  if (!a.note.empty()) json["note"] = a.note;
  json["attributions"] = nlohmann::ordered_json::array();
  const auto add = [&](const ExplainedPart& part) {
    nlohmann::ordered_json one{{"kind", part.kind},
                               {"name", part.name},
                               {"value", part.value},
                               {"position", &part - e.parts.data()},
                               {"phi", e.phi(part)}};
    const auto player = static_cast<size_t>(part.player);
    const bool plays = part.player >= 0;
    one["standard_error"] = plays ? a.standard_errors[player] : 0.0;
    one["low"] = plays ? a.interval(player).low : 0.0;
    one["high"] = plays ? a.interval(player).high : 0.0;
    if (e.attention) one["attention"] = plays ? (*e.attention)[player] : 0.0;
    json["attributions"].push_back(std::move(one));
  };
  for (const ExplainedPart* part : e.ranked()) add(*part);
  for (const ExplainedPart& part : e.parts)
    if (part.player < 0) add(part);
  json["completeness_error"] = a.completeness_error();
  if (a.local) json["local_model"] = to_json(*a.local);
  if (e.novelty) json["masked_inputs"] = {{"further_than_training", interval_json(*e.novelty)}};
  json["evaluations"] = a.evaluations;
  json["rows_answered"] = e.rows_answered;
  json["seconds"] = e.seconds;
  json["seed"] = a.seed;
  if (e.reasons.asked) json["reasons"] = to_json(e.reasons);
  if (e.counterfactual.asked) json["counterfactual"] = to_json(e.counterfactual);
  if (e.interactions) json["interactions"] = interactions_json(e);
  if (e.influence.rows > 0) json["training_rows"] = to_json(e.influence);
  if (e.audit.asked) json["audit"] = to_json(e.audit);
  return json;
}

std::vector<std::string> sentences(const Explanation& e) {
  const Attribution& a = e.attribution;
  std::vector<std::string> lines;
  lines.push_back(
      fmt::format("{}: {:.6g}; {} it is {:.6g} (the base).", e.target, a.value, a.base_is, a.base));
  lines.push_back(fmt::format("Method: {} ({}); {} evaluations of the game; seed {}.", a.method,
                              a.reason, a.evaluations, a.seed));
  lines.push_back(fmt::format("Hidden parts: {}", e.mask_policy));
  lines.push_back(a.local ? local_model_line(a)
                          : fmt::format("Completeness error {:.2g}: base and contributions sum to "
                                        "the value. {}",
                                        a.completeness_error(), how_sure(a)));
  if (e.novelty) {
    lines.push_back(fmt::format(
        "Masked inputs: a row that hiding puts together lies further from the training rows than "
        "one of them with probability {:.2f} ({:.2f} to {:.2f}; 0.5: alike, 1: the model has not "
        "seen their like).",
        e.novelty->value, e.novelty->low, e.novelty->high));
  }
  if (!a.note.empty()) lines.push_back(a.note);
  return lines;
}

std::vector<std::string> reason_lines(const ReasonReport& report) {
  std::vector<std::string> lines;
  for (const ReasonReport::Reason& reason : report.reasons) {
    lines.push_back(fmt::format("{}  {}  ({} = {}; {:+.3g}, alone {:+.3g})", reason.code,
                                reason.text, reason.column, reason.value, reason.phi,
                                reason.effect));
  }
  for (const ReasonReport::Withheld& one : report.withheld) {
    lines.push_back(
        fmt::format("passed over: {} = {} ({:+.3g}): {}", one.column, one.value, one.phi, one.why));
  }
  return lines;
}

std::string counterfactual_line(const Counterfactual& c) {
  if (!c.found) {
    return fmt::format(
        "No change of the permitted columns was found that turns {} into another "
        "decision.",
        c.from_class);
  }
  std::string changes;
  for (const Counterfactual::Change& change : c.changes) {
    changes += fmt::format("{}{} from {} to {}", changes.empty() ? "" : ", and ", change.column,
                           change.from.empty() ? "missing" : change.from, change.to);
  }
  return fmt::format(
      "The decision would be {} instead of {} with {}: its probability would rise "
      "from {:.3f} to {:.3f}.",
      c.to_class, c.from_class, changes, c.before, c.after);
}

std::vector<std::string> audit_lines(const Audit& audit) {
  const Faithfulness& f = audit.faithfulness;
  return {fmt::format("Showing parts in this order, strongest first, gives a mean answer of {:.4g} "
                      "(random orders {:.4g}); hiding them {:.4g} (random orders {:.4g}).",
                      f.insertion_area, f.random_insertion.value, f.deletion_area,
                      f.random_deletion.value),
          fmt::format("Advantage over random orders: {:.4g} ({:.4g} to {:.4g}): {}.",
                      f.advantage.value, f.advantage.low, f.advantage.high,
                      f.advantage.low > 0 ? "the order says what the model goes by"
                                          : "the order is not clear of chance"),
          fmt::format("Rank correlation with the same model with random weights: {:.2f}: {}.",
                      audit.randomised_correlation,
                      audit.randomised_correlation < 0.7
                          ? "the explanation depends on what was learnt"
                          : "beware, much of the explanation does not depend on what was learnt")};
}

std::string terminal_text(const Explanation& e, size_t most) {
  std::string text;
  for (const std::string& line : sentences(e)) text += line + "\n";
  text += "\n";
  std::vector<report::SignedBar> bars;
  const auto ranked = e.ranked();
  for (size_t i = 0; i < std::min(most, ranked.size()); ++i) {
    const auto player = static_cast<size_t>(ranked[i]->player);
    const double margin = e.attribution.margins[player];
    bars.push_back(
        {ranked[i]->label(), e.phi(*ranked[i]), margin > 0 ? fmt::format("± {:.2g}", margin) : ""});
  }
  text += report::signed_bars(bars);
  if (ranked.size() > most) {
    double rest = 0;
    for (size_t i = most; i < ranked.size(); ++i) rest += e.phi(*ranked[i]);
    text += fmt::format("and {} weaker ones, together {:+.4g}\n", ranked.size() - most, rest);
  }
  if (e.reasons.asked) {
    text += "\nPrincipal reasons:\n";
    for (const std::string& line : reason_lines(e.reasons)) text += "  " + line + "\n";
  }
  if (e.attention) text += "\n" + attention_line(e) + "\n";
  if (e.interactions) {
    text += "\nInteractions, beyond what each part contributes alone:\n";
    std::vector<report::SignedBar> pairs;
    for (const ShownInteraction& one : shown_interactions(e)) {
      pairs.push_back({fmt::format("{} × {}", one.a, one.b), one.value,
                       one.margin > 0 ? fmt::format("± {:.2g}", one.margin) : ""});
    }
    text += report::signed_bars(pairs, 48);
  }
  if (e.influence.rows > 0) {
    text += "\n" + influence_line(e.influence) + "\n";
    std::vector<report::SignedBar> rows;
    for (const auto* side : {&e.influence.raising, &e.influence.lowering})
      for (const InfluenceReport::Row& row : *side)
        rows.push_back({row.where, row.influence, row.answer});
    text += report::signed_bars(rows, 48);
  }
  if (e.audit.asked) {
    text += "\n";
    for (const std::string& line : audit_lines(e.audit)) text += line + "\n";
  }
  if (e.counterfactual.asked) text += "\n" + counterfactual_line(e.counterfactual) + "\n";
  return text;
}

}  // namespace quern::explain
