#include "quern/explain/diagnosis_verdicts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quern::explain {
namespace {

Overfit how_overfit(const Membership& m) {
  if (m.auc.low > 0.5 && m.auc.value >= kOverfitArea) return Overfit::kOverfits;
  return m.auc.low > 0.5 || m.gap.low > 0 ? Overfit::kSlight : Overfit::kNone;
}

std::string overfitting(const Diagnosis& d) {
  const Membership& m = d.membership;
  const std::string evidence = fmt::format(
      "loss {:.4f} on training rows, {:.4f} on {} rows, {:.4f} apart ({:.4f} to {:.4f}); by its "
      "loss a training row is told from another with an area of {:.3f} ({:.3f} to {:.3f}), .5 "
      "being "
      "chance",
      m.train_loss, m.held_out_loss, d.held_out, m.gap.value, m.gap.low, m.gap.high, m.auc.value,
      m.auc.low, m.auc.high);
  switch (d.overfit) {
    case Overfit::kOverfits:
      return "it overfits, having learned rows by heart: " + evidence +
             "; more data, fewer steps, a smaller model or more dropout help";
    case Overfit::kSlight:
      return "it fits training rows a little better than others, as most models do: " + evidence;
    case Overfit::kNone:
      break;
  }
  return "no sign of overfitting: " + evidence;
}

std::string retraining(const Retraining& r) {
  const Relearned &half = r.curve[r.curve.size() - 2], &all = r.curve.back();
  const double fall = (half.loss - all.loss) / std::max(half.loss, 1e-12);
  std::string text = fmt::format(
      "learned afresh for {:.0f} s each, validation loss from a quarter, a half and all of the "
      "rows: "
      "{:.4f}, {:.4f}, {:.4f}; {}",
      r.seconds_each, r.curve.front().loss, half.loss, all.loss,
      fall > 0.02 ? "more rows would still help" : "more rows of the same kind would help little");
  text += fmt::format(". With answers dealt out at random {} is {:.4f}, against {:.4f}", r.metric,
                      r.shuffled.score, all.score);
  return text;
}

std::string calibration(const Calibration& c) {
  if (c.coverage) {
    const bool kept = c.coverage->low <= 0.9 && c.coverage->high >= 0.9;
    return fmt::format("the 90 % interval holds {:.1f} % of {} {} ({:.1f} to {:.1f}): {}",
                       100 * c.coverage->value, c.rows, c.of, 100 * c.coverage->low,
                       100 * c.coverage->high, kept ? "as promised" : "not as promised");
  }
  const auto find = [&](std::string_view name) {
    const auto found = std::ranges::find(c.scores, name, &metrics::Score::name);
    return found == c.scores.end() ? std::nan("") : found->interval.value;
  };
  const double left = c.temperature_left;
  const std::string_view word = left > 1.25  ? "too sure of itself"
                                : left < 0.8 ? "not sure enough of itself"
                                             : "about as sure as it is right";
  return fmt::format(
      "it is {}: on {} {} the calibration error (15 bins) is {:.4f}, Brier {:.4f}, log loss "
      "{:.4f}; a "
      "further temperature of {:.2f} would fit them best (1: none; {:.2f} is in force){}",
      word, c.rows, c.of, find("ece"), find("brier"), find("log_loss"), left, c.temperature,
      c.of == "validation rows" ? ", which these very rows chose" : "");
}

std::string leakage(const Diagnosis& d) {
  const Overlap& o = d.leakage;
  const double share = o.rows == 0 ? 0 : static_cast<double>(o.exact) / static_cast<double>(o.rows);
  std::string text = fmt::format(
      "{} of {} {} stand in the training data too, {} more but for one "
      "column",
      o.exact, o.rows, d.compared, o.near);
  if (!o.example.empty()) text += fmt::format(" (first: {})", o.example);
  return (share >= kLeakedShare ? "leakage: " : "no leakage found: ") + text;
}

std::string drift(const Diagnosis& d) {
  std::string names;
  size_t count = 0;
  for (const ColumnDrift& one : d.drift) {
    if (!one.drifted || ++count > 5) continue;
    names += fmt::format("{}{} ({:.3f})", names.empty() ? "" : ", ", one.name, one.stability);
  }
  if (count > 5) names += fmt::format(" and {} more", count - 5);
  if (count > 0) {
    return fmt::format(
        "{} columns of the {} drifted from the training rows, by a stability index "
        "above {:g}: {}",
        count, d.compared, d.drift_limit, names);
  }
  if (d.drift.empty()) return "no column of numbers or categories to look for drift in";
  return fmt::format(
      "no drift: the largest stability index of the {} is {:.3f} ({}), the limit "
      "{:g}",
      d.compared, d.drift.front().stability, d.drift.front().name, d.drift_limit);
}

}  // namespace

void judge(Diagnosis& d) {
  d.overfit = how_overfit(d.membership);
  d.verdicts = {overfitting(d)};
  if (!d.training_verdict.empty()) d.verdicts.push_back("training said: " + d.training_verdict);
  if (d.retraining) d.verdicts.push_back(retraining(*d.retraining));
  d.verdicts.push_back(d.calibration ? calibration(*d.calibration)
                                     : "calibration: the new rows have no answers to judge by");
  d.verdicts.push_back(leakage(d));
  d.verdicts.push_back(drift(d));
}

}  // namespace quern::explain
