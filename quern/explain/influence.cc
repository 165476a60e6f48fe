#include "quern/explain/influence.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>

#include "quern/base/error.h"
#include "quern/base/evenly_spread.h"
#include "quern/base/interrupt.h"
#include "quern/explain/training_rows.h"
#include "quern/formats/safetensors.h"
#include "quern/graph/plan.h"
#include "quern/metrics/softmax.h"
#include "quern/train/checkpoint.h"
#include "quern/train/run_setup.h"

namespace quern::explain {
namespace {

/// Gradients of a row's loss with respect to all parameters, one row at a time.
class RowLosses {
 public:
  RowLosses(run::RowRun& run, ThreadPool& pool) : run_(run), pool_(pool) {
    run.parameters.allocate_gradients();
    const auto make = [&](const model::EncoderTrace& trace, bool backward) {
      graph::PlanOptions options;
      options.backward = backward;
      return std::make_unique<graph::Executor>(
          graph::Plan(model::trace_encoder(run.config, run.parameters, trace), options),
          run.parameters, states_, pool);
    };
    answers_ = make({}, false);
    gradients_ = make({.weighed_logits = true}, true);
  }

  /// What a row is held against: its class, or its standardised value; without a value, how low the
  /// prediction is.
  struct Against {
    int32_t label = 0;
    std::optional<float> value;
  };
  /// The gradient of the loss of one row, by the copies that `counts` names. Valid until the next
  /// call.
  std::span<const float> operator()(const task::RowInputs& rows, size_t row, const Against& against,
                                    std::span<const uint8_t> counts) {
    const std::array<int64_t, 1> index = {static_cast<int64_t>(row)};
    task::fill_rows(run_.config, rows, index, *answers_, nullptr, 0, &pool_);
    answers_->run();
    task::fill_rows(run_.config, rows, index, *gradients_, nullptr, 0, &pool_);
    weigh(answers_->output("logits").f32_span(), against, counts);
    gradients_->run();
    return run_.parameters.gradients();
  }

 private:
  void weigh(std::span<const float> logits, const Against& against,
             std::span<const uint8_t> counts) {
    const std::span<float> weight = gradients_->input("logit_weight").f32_span();
    const auto outputs = static_cast<size_t>(run_.config.outputs);
    const auto members = static_cast<size_t>(run_.config.members);
    const float share = 1 / static_cast<float>(run_.config.answers());
    for (size_t a = 0; a < logits.size() / outputs; ++a) {
      const std::span<const float> own = logits.subspan(a * outputs, outputs);
      const std::span<float> out = weight.subspan(a * outputs, outputs);
      const float counted = counts[a / members] != 0 ? share : 0;
      if (run_.config.answer == model::Answer::kValue) {
        out[0] = against.value ? 2 * counted * (own[0] - *against.value) : -counted;
        continue;
      }
      std::ranges::copy(own, out.begin());
      metrics::softmax(out);
      for (size_t i = 0; i < outputs; ++i)
        out[i] = counted * (out[i] - (static_cast<int32_t>(i) == against.label ? 1.0F : 0.0F));
    }
  }

  run::RowRun& run_;
  ThreadPool& pool_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> answers_, gradients_;
};

/// The weights that a checkpoint held, into the run's parameters of a copy.
void take_checkpoint(const fs::path& path, const std::string& prefix,
                     graph::ParameterStore& parameters) {
  const formats::SafetensorsFile file(path);
  for (size_t i = 0; i < parameters.parameters().size(); ++i) {
    const std::string& name = parameters.parameters()[i].name;
    if (!name.starts_with(prefix)) continue;
    const std::span<const std::byte> bytes =
        file.data(file.at("model." + name.substr(prefix.size())));
    const std::span<float> values = parameters.value(static_cast<int32_t>(i)).f32_span();
    if (bytes.size() != values.size_bytes()) {
      throw FormatError(path.string() + ": the checkpoint is of another model",
                        "remove it, or train the run again");
    }
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
}

/// Weights that a copy of the model held while it learned.
struct Held {
  fs::path checkpoint;  // empty: the run's own
  double share = 1;     // of the learning rate of the step that led to them; all together 1
};

/// The run's own weights, then those of the checkpoints that training kept, newest first.
std::vector<Held> weights_held(const run::RowRun& run, size_t copy) {
  std::vector<Held> held(1);
  const auto saved =
      train::list_checkpoints(train::fold_folder(run.folder, copy) / run::kCheckpointFolder);
  if (saved.empty()) return held;
  const train::TrainerOptions options = train::trainer_options(run::options_of(run.folder));
  double sum = 0;
  for (const auto& [step, path] : saved) {
    const train::Progress progress = train::verify_checkpoint(path);
    const train::Schedule schedule = train::schedule_of(options, progress);
    const auto rate_before = [&](int64_t at) {
      return schedule.rate(std::max<int64_t>(at - 1, 0));
    };
    // The run's own weights are those of the best step that the newest knows of.
    if (held.size() == 1) sum = held.front().share = rate_before(progress.best_step);
    sum += held.emplace_back(path, rate_before(step)).share;
  }
  for (Held& one : held)
    one.share = sum > 0 ? one.share / sum : 1 / static_cast<double>(held.size());
  return held;
}

double product(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// The rows looked at, as the model reads them, and their targets.
struct Looked {
  std::vector<size_t> places;  // in the split's training rows
  task::RowInputs inputs;
  task::RowTargets targets;
};

Looked look_at(const run::RowRun& run, const task::TableTask& training, size_t most) {
  const std::vector<size_t>& train = training.split.train;
  Looked looked;
  looked.places = evenly_spread(train.size(), std::min(most, train.size()));
  std::vector<size_t> rows;
  for (const size_t place : looked.places) rows.push_back(train[place]);
  looked.inputs = task::make_row_inputs(run.pipeline.columns.encode(training.table, rows), run);
  looked.targets = training.targets(rows);
  return looked;
}

/// Multiplies a gradient of all parameters by the share of the copy that each belongs to.
void weigh_copies(const run::RowRun& run, std::span<const double> shares,
                  std::span<float> gradient) {
  for (size_t copy = 0; copy < shares.size(); ++copy) {
    const std::string prefix = run.config.copy_prefix(static_cast<int64_t>(copy));
    for (const graph::ParameterInfo& info : run.parameters.parameters()) {
      if (!info.name.starts_with(prefix)) continue;
      for (float& value : gradient.subspan(info.offset, static_cast<size_t>(info.shape.elements())))
        value *= static_cast<float>(shares[copy]);
    }
  }
}

/// Adds what each row looked at did at the run's present weights, by the share of each copy.
void add_products(const run::RowRun& run, RowLosses& losses, const ExplainedRow& row,
                  RowTarget target, const task::TableTask& training, const Looked& looked,
                  std::span<const double> shares, std::span<double> influence) {
  const bool classes = run.config.answer == model::Answer::kClass;
  const std::vector<uint8_t> all(static_cast<size_t>(run.config.copies), 1);
  const std::span<const float> found =
      losses(row.inputs, 0, {static_cast<int32_t>(target.output), {}}, all);
  std::vector<float> own(found.begin(), found.end());
  weigh_copies(run, shares, own);
  std::vector<uint8_t> learned = all;
  for (size_t i = 0; i < looked.places.size() && !interrupted(); ++i) {
    for (size_t copy = 0; copy < learned.size() && !training.split.folds.empty(); ++copy)
      learned[copy] = training.split.folds[looked.places[i]] == copy ? 0 : 1;
    RowLosses::Against against;
    if (classes) {
      against.label = looked.targets.classes[i];
    } else {
      against.value = looked.targets.values[i];
    }
    influence[i] += product(own, losses(looked.inputs, i, against, learned));
  }
}

}  // namespace

InfluenceReport find_influence(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row,
                               RowTarget target, const task::TableTask& training, size_t shown,
                               size_t most) {
  const Looked looked = look_at(run, training, most);
  RowLosses losses(run, pool);
  std::vector<double> influence(looked.places.size(), 0.0);
  InfluenceReport out;
  out.rows = looked.places.size();
  const auto copies = static_cast<size_t>(run.config.copies);
  std::vector<std::vector<Held>> held;  // by copy; one may have kept more than another
  for (size_t copy = 0; copy < copies; ++copy) {
    held.push_back(weights_held(run, copy));
    out.weights = std::max(out.weights, held.back().size());
  }
  const std::span<float> values = run.parameters.values();
  const std::vector<float> kept(values.begin(), values.end());
  for (size_t k = 0; k < out.weights; ++k) {
    std::vector<double> shares(copies, 0.0);
    for (size_t copy = 0; copy < copies; ++copy) {
      if (k >= held[copy].size()) continue;
      const Held& one = held[copy][k];
      shares[copy] = one.share;
      if (!one.checkpoint.empty()) {
        take_checkpoint(one.checkpoint, run.config.copy_prefix(static_cast<int64_t>(copy)),
                        run.parameters);
      }
    }
    add_products(run, losses, row, target, training, looked, shares, influence);
  }
  std::ranges::copy(kept, values.begin());
  std::vector<size_t> order(influence.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return influence[i]; });
  const auto told = [&](size_t i) {
    const size_t at = training.split.train[looked.places[i]];
    return InfluenceReport::Row{training.table.where(at),
                                std::string(training.table.cell(at, training.target)),
                                influence[i]};
  };
  for (size_t k = 0; k < std::min(shown, order.size()); ++k) {
    if (influence[order[k]] > 0) out.raising.push_back(told(order[k]));
    const size_t last = order[order.size() - 1 - k];
    if (influence[last] < 0) out.lowering.push_back(told(last));
  }
  return out;
}

}  // namespace quern::explain
