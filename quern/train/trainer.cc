#include "quern/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

#include "quern/base/error.h"
#include "quern/base/interrupt.h"
#include "quern/train/gather.h"

namespace quern::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kCheckpointSeconds = 30;
constexpr int64_t kPatience = 10;
constexpr int64_t kEvaluations = 25;

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

uint64_t validation_samples(Engine& engine) {
  return engine.problem().evaluation_samples(task::Part::kValidation);
}

}  // namespace

constexpr std::array<std::string_view, 5> kStopReasons = {"steps", "epochs", "time", "patience",
                                                          "interrupted"};

std::string_view name(StopReason reason) { return kStopReasons.at(static_cast<size_t>(reason)); }

StopReason stop_reason(std::string_view name) {
  const auto* found = std::find(kStopReasons.begin(), kStopReasons.end(), name);
  return found == kStopReasons.end() ? StopReason::kSteps
                                     : static_cast<StopReason>(found - kStopReasons.begin());
}

double bits_per_byte(double nats_per_token, double bytes_per_token) {
  return bytes_per_token > 0 ? nats_per_token / std::numbers::ln2 / bytes_per_token : 0;
}

Trainer::Trainer(Engine& engine, TrainerOptions options, Reporter& reporter,
                 TrainObserver& observer)
    : engine_(engine),
      options_(std::move(options)),
      reporter_(reporter),
      observer_(observer),
      started_(options_.started) {
  if (options_.steps <= 0 && options_.epochs <= 0 && options_.seconds <= 0) {
    throw UsageError("no_limit", "training has no end: neither steps, epochs nor time is set",
                     "give --time, --steps or --epochs");
  }
  progress_.fingerprint = options_.fingerprint;
}

double Trainer::spent() const { return seconds_before_ + seconds_between(started_, Clock::now()); }

/// What is left for steps: the end is kept for scoring both texts and for the caller.
double Trainer::time_left() const {
  const double windows = static_cast<double>(2 * validation_samples(engine_));
  const double reserve =
      windows * evaluation_seconds_per_sample_ * 1.1 + save_seconds_ + options_.finish_seconds;
  return options_.seconds - spent() - reserve;
}

/// The newest whole checkpoint, as the root sees the folder; empty where there is none.
fs::path Trainer::newest_checkpoint() const {
  std::string path;
  if (engine_.ranks().root()) {
    std::vector<std::string> damaged;
    const auto found = find_checkpoint(options_.checkpoints, &damaged);
    for (const std::string& message : damaged) reporter_.note(message + "; an older one is taken");
    if (found) path = found->path.string();
  }
  return engine_.ranks().from_root(path);
}

bool Trainer::resume() {
  if (options_.checkpoints.empty()) return false;
  const fs::path path = newest_checkpoint();
  if (path.empty()) return false;
  if (verify_checkpoint(path).fingerprint != options_.fingerprint) {
    throw UsageError(
        "other_run",
        fmt::format("{}: the checkpoint is of another run: data, tokenizer, model or training "
                    "options differ",
                    path.string()),
        "resume with the same data and options, or choose another --out");
  }
  progress_ = load_checkpoint(path, engine_.tensors());
  seconds_before_ = progress_.seconds;
  last_train_loss_ = progress_.train_loss;
  saved_step_ = progress_.step;
  observer_.on_resume(progress_.step);
  reporter_.note(fmt::format("resumed at step {} ({} spent)", with_commas(progress_.step),
                             format_duration(progress_.seconds)));
  return true;
}

Schedule schedule_of(const TrainerOptions& options, const Progress& progress) {
  return {options.schedule, options.learning_rate, options.min_learning_rate, progress.warmup_steps,
          progress.total_steps};
}

/// Times forward and backward before the first step, so that the schedule has an end from the
/// start; the loop corrects it at every evaluation.
void Trainer::measure_speed() {
  engine_.rehearse();
  double fastest = std::numeric_limits<double>::max();
  for (int i = 0; i < 3; ++i) {
    const auto begin = Clock::now();
    engine_.rehearse();
    fastest = std::min(fastest, seconds_between(begin, Clock::now()));
  }
  step_average_ = fastest;
  evaluation_seconds_per_sample_ = fastest / 3 / static_cast<double>(engine_.samples_per_step());
}

void Trainer::estimate_steps(double step_seconds) {
  const double left = std::max(0.0, time_left());
  auto total = progress_.step + static_cast<int64_t>(left / std::max(step_seconds, 1e-6));
  if (options_.steps > 0) total = std::min(total, options_.steps);
  if (options_.epochs > 0) {
    total = std::min(total, std::lround(options_.epochs * engine_.steps_per_epoch()));
  }
  total = std::max<int64_t>(total, progress_.step + 1);
  // Clocks differ; the root's decides.
  progress_.total_steps =
      static_cast<int64_t>(engine_.ranks().from_root(static_cast<double>(total)));
}

void Trainer::plan_steps() {
  if (progress_.total_steps == 0) {
    if (options_.seconds > 0) {
      measure_speed();
      constexpr double kOverhead = 1.08;  // the optimizer, evaluations, checkpoints
      estimate_steps(step_average_ * kOverhead);
    } else {
      int64_t total = options_.steps > 0 ? options_.steps : std::numeric_limits<int64_t>::max();
      if (options_.epochs > 0) {
        total = std::min<int64_t>(
            total, std::max<int64_t>(1, std::lround(options_.epochs * engine_.steps_per_epoch())));
      }
      progress_.total_steps = total;
    }
    const int64_t total = progress_.total_steps;
    progress_.warmup_steps = std::min(
        options_.warmup_steps >= 0 ? options_.warmup_steps : std::min<int64_t>(total / 20, 200),
        total / 2);
    progress_.evaluate_every =
        options_.evaluate_every > 0
            ? options_.evaluate_every
            : std::clamp<int64_t>((total + kEvaluations - 1) / kEvaluations, 1, 1000);
    // A forward pass is a third of a step: a tenth of the time goes to evaluation.
    const auto affordable =
        static_cast<int64_t>(0.3 * static_cast<double>(engine_.samples_per_step()) *
                             static_cast<double>(progress_.evaluate_every));
    const auto all = static_cast<int64_t>(validation_samples(engine_));
    progress_.evaluate_limit =
        all <= std::max<int64_t>(affordable, 64) ? 0 : std::max<int64_t>(affordable, 64);
  } else if (options_.seconds > 0) {
    measure_speed();
  }
  if (progress_.evaluate_limit > 0) {
    reporter_.note(
        fmt::format("evaluations use a fixed {} of {} validation samples; the final one uses all",
                    with_commas(progress_.evaluate_limit),
                    with_commas(static_cast<int64_t>(validation_samples(engine_)))));
  }
}

void Trainer::take_step() {
  const double rate = schedule().rate(progress_.step);
  const auto begin = Clock::now();
  const double loss = engine_.step(progress_.step, rate);
  const double seconds = seconds_between(begin, Clock::now());
  ++progress_.step;
  ++steps_here_;
  step_seconds_ += seconds;
  step_average_ = steps_here_ == 1 ? seconds : 0.9 * step_average_ + 0.1 * seconds;
  const double norm = static_cast<double>(engine_.gradient_norm());
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    throw Error("diverged",
                fmt::format("step {}: the {} is not finite", with_commas(progress_.step),
                            std::isfinite(loss) ? "gradient" : "loss"),
                "lower train.learning_rate, or lengthen train.warmup_steps");
  }
  loss_sum_ += loss;
  ++loss_count_;
  observer_.on_step({progress_.step, loss, rate, norm, spent(),
                     static_cast<double>(engine_.targets_per_step()) / seconds});
}

void Trainer::evaluate() {
  const auto begin = Clock::now();
  const Evaluation result =
      engine_.evaluate(task::Part::kValidation, static_cast<uint64_t>(progress_.evaluate_limit));
  const uint64_t all = validation_samples(engine_);
  const auto limit = static_cast<uint64_t>(progress_.evaluate_limit);
  const uint64_t samples = std::max<uint64_t>(1, limit > 0 ? std::min(all, limit) : all);
  evaluation_seconds_per_sample_ =
      seconds_between(begin, Clock::now()) / static_cast<double>(samples);
  if (loss_count_ > 0) last_train_loss_ = loss_sum_ / static_cast<double>(loss_count_);
  loss_sum_ = 0;
  loss_count_ = 0;
  ++progress_.evaluations;
  progress_.train_loss = last_train_loss_;
  const bool best = progress_.best_step < 0 || result.loss < progress_.best_loss;
  if (best) {
    progress_.best_step = progress_.step;
    progress_.best_loss = result.loss;
    progress_.since_best = 0;
    engine_.keep_best();
  } else {
    ++progress_.since_best;
  }
  history_.push_back({progress_.step, last_train_loss_, result.loss,
                      schedule().rate(progress_.step - 1), spent(), best});
  observer_.on_evaluation(history_.back(), engine_);
  if (options_.seconds > 0 && steps_here_ > 0) {
    estimate_steps(seconds_between(loop_started_, Clock::now()) / static_cast<double>(steps_here_));
  }
}

void Trainer::save() {
  if (options_.checkpoints.empty() || saved_step_ == progress_.step) return;
  progress_.seconds = spent();
  const auto begin = Clock::now();
  const GatheredTensors whole = gather(engine_.ranks(), engine_.tensors());
  if (engine_.ranks().root()) save_checkpoint(options_.checkpoints, progress_, whole.tensors);
  saved_at_ = Clock::now();
  save_seconds_ = seconds_between(begin, saved_at_);
  saved_step_ = progress_.step;
}

void Trainer::save_when_due() {
  const bool due = options_.checkpoint_every > 0
                       ? progress_.step % options_.checkpoint_every == 0
                       : seconds_between(saved_at_, Clock::now()) >
                             std::max(kCheckpointSeconds,
                                      20 * save_seconds_);  // at most a twentieth of the time
  if (engine_.ranks().any(due)) save();
}

bool Trainer::past_deadline() const { return options_.seconds > 0 && time_left() < step_average_; }

std::optional<StopReason> Trainer::reason_to_stop() const {
  // A signal may reach some of the ranks, and clocks differ.
  if (engine_.ranks().any(interrupted())) return StopReason::kInterrupted;
  if (engine_.ranks().any(past_deadline()) && progress_.step > 0) return StopReason::kTime;
  if (progress_.step >= progress_.total_steps) {
    if (options_.steps > 0 && progress_.step >= options_.steps) return StopReason::kSteps;
    if (options_.epochs > 0 &&
        progress_.step >= std::lround(options_.epochs * engine_.steps_per_epoch())) {
      return StopReason::kEpochs;
    }
    return StopReason::kTime;
  }
  const int64_t patience = options_.patience > 0 ? options_.patience
                           : options_.steps > 0  ? 0
                                                 : kPatience;
  if (patience > 0 && progress_.since_best >= patience) return StopReason::kPatience;
  return std::nullopt;
}

void Trainer::show(bool last) {
  const auto now = Clock::now();
  if (!last && seconds_between(shown_at_, now) < 0.1) return;
  shown_at_ = now;
  // Both losses are of the last evaluation, so that they and their gap agree.
  const double train = !history_.empty() ? history_.back().train_loss
                       : loss_count_ > 0 ? loss_sum_ / static_cast<double>(loss_count_)
                                         : last_train_loss_;
  std::string line = fmt::format("step {}/{}  train {:.3f}", with_commas(progress_.step),
                                 with_commas(progress_.total_steps), train);
  if (progress_.evaluations > 0 && !history_.empty()) {
    const double validation = history_.back().validation_loss;
    line += fmt::format("  validation {:.3f}  gap {:+.3f}", validation,
                        validation - history_.back().train_loss);
    if (options_.bytes_per_token > 0) {
      line +=
          fmt::format("  {:.3f} bits/byte", bits_per_byte(validation, options_.bytes_per_token));
    }
  }
  line += fmt::format("  rate {:.2e}", schedule().rate(std::max<int64_t>(progress_.step - 1, 0)));
  if (step_average_ > 0) {
    line += fmt::format(
        "  {} {}s/s", format_count(static_cast<double>(engine_.targets_per_step()) / step_average_),
        engine_.problem().unit());
    if (options_.peak_flops > 0) {
      line += fmt::format("  {:.0f} % of peak",
                          100 * engine_.flops_per_step() / step_average_ / options_.peak_flops);
    }
    const double by_steps =
        static_cast<double>(progress_.total_steps - progress_.step) *
        (steps_here_ > 0 ? seconds_between(loop_started_, now) / static_cast<double>(steps_here_)
                         : step_average_);
    line += fmt::format("  {} left", format_duration(by_steps));
  }
  if (progress_.since_best >= 3) {
    line += fmt::format("  validation rising for {} evaluations", progress_.since_best);
  }
  reporter_.progress(line, last);
}

TrainResult Trainer::run() {
  const InterruptGuard guard;
  plan_steps();
  loop_started_ = saved_at_ = Clock::now();
  std::optional<StopReason> reason;
  while (!(reason = reason_to_stop())) {
    take_step();
    if (progress_.step % progress_.evaluate_every == 0) evaluate();
    save_when_due();
    show(false);
  }
  show(true);
  return finish(*reason);
}

TrainResult Trainer::finish(StopReason reason) {
  TrainResult result;
  result.stopped_because = reason;
  if (reason != StopReason::kInterrupted &&
      (history_.empty() || history_.back().step != progress_.step) && progress_.step > 0 &&
      loss_count_ > 0) {
    evaluate();
  }
  save();
  if (progress_.best_step < 0) engine_.keep_best();
  engine_.restore_best();
  if (reason != StopReason::kInterrupted) {
    reporter_.progress("scoring the best step on all of the validation part", true);
    result.validation = engine_.evaluate(task::Part::kValidation);
    result.train = engine_.evaluate(task::Part::kTrain, validation_samples(engine_));
  }
  result.steps = progress_.step;
  result.best_step = progress_.best_step < 0 ? progress_.step : progress_.best_step;
  result.seconds = spent();
  if (step_seconds_ > 0) {
    const double rate = static_cast<double>(steps_here_) / step_seconds_;
    result.tokens_per_second = rate * static_cast<double>(engine_.targets_per_step());
    result.flops_per_second = rate * engine_.flops_per_step();
  }
  result.verdict = judge(history_, result.train.loss, result.validation.loss);
  result.history = history_;
  return result;
}

}  // namespace quern::train
