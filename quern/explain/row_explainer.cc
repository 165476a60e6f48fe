#include "quern/explain/row_explainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "quern/base/error.h"
#include "quern/base/evenly_spread.h"
#include "quern/base/interrupt.h"
#include "quern/base/strings.h"
#include "quern/data/table_reader.h"
#include "quern/explain/attention_rollout.h"
#include "quern/explain/influence.h"
#include "quern/explain/masked_novelty.h"
#include "quern/explain/row_lime.h"
#include "quern/explain/row_path.h"
#include "quern/kernels/cuda/device_name.h"

namespace quern::explain {
namespace {

size_t class_of(const run::RowPipeline& pipeline, const std::string& name) {
  const auto found = std::ranges::find(pipeline.classes, name);
  if (found != pipeline.classes.end()) return static_cast<size_t>(found - pipeline.classes.begin());
  const auto near = nearest(name, pipeline.classes);
  const size_t shown = std::min<size_t>(pipeline.classes.size(), 12);
  throw UsageError(
      "unknown_class", fmt::format("--target '{}' is no class of the model", name),
      near ? fmt::format("did you mean '{}'?", *near)
           : fmt::format(
                 "the classes are: {}{}",
                 fmt::join(pipeline.classes.begin(),
                           pipeline.classes.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                 shown < pipeline.classes.size() ? ", …" : ""));
}

ExplainedPicture picture_of(const ExplainedRow& row) {
  ExplainedPicture picture;
  const features::EncodedRows& columns = row.inputs.columns;
  if (!columns.picture.present()) return picture;
  picture.height = columns.picture.height;
  picture.width = columns.picture.width;
  picture.channels = columns.picture.channels;
  picture.pixels.assign(columns.pixels.begin(), columns.pixels.end());
  picture.players.assign(static_cast<size_t>(picture.height * picture.width), -1);
  for (size_t i = 0; i < row.parts.size(); ++i)
    for (const uint32_t pixel : row.parts[i].pixels)
      picture.players[pixel] = static_cast<int32_t>(i);
  return picture;
}

/// The run with nothing learnt: one copy with random weights, and no linear model to start from.
run::RowRun untrained(const run::RowRun& run, uint64_t seed) {
  run::RowRun random;
  random.folder = run.folder;
  random.pipeline = run.pipeline;
  random.tokenizer = run.tokenizer;
  random.config = run.config.single();
  random.config.linear = false;
  model::declare_encoder(random.config, random.parameters);
  random.parameters.use(run.parameters.gpu());
  random.parameters.allocate();
  model::initialise_encoder(random.config, random.parameters, seed);
  return random;
}

}  // namespace

features::EncodedRows read_background(const run::RowRun& run, const std::string& file, size_t most,
                                      Reporter& reporter) {
  if (run.config.columns() == 0) return {};
  const fs::path kept = run.folder / run::kBackgroundFile;
  if (file.empty() && !fs::exists(kept)) {
    throw Error("no_background",
                fmt::format("{}: the run folder lacks {}, the rows that hidden columns take their "
                            "values from",
                            run.folder.string(), run::kBackgroundFile),
                "name rows with --background FILE, or train again");
  }
  const std::vector<fs::path> paths = {file.empty() ? kept : fs::path(file)};
  const data::Table table =
      data::read_table(paths, {}, file.empty() ? silent_reporter() : reporter);
  const size_t taken = most == 0 ? table.rows() : std::min(most, table.rows());
  const std::vector<size_t> rows = evenly_spread(table.rows(), taken);
  if (rows.size() == 1) {
    reporter.note("a background of one row: contributions say what differs from that row alone");
  }
  features::EncodedRows encoded = run.pipeline.columns.encode(table, rows);
  encoded.texts.clear();
  encoded.pixels.clear();
  return encoded;
}

RowExplainer::RowExplainer(run::RowRun& run, ThreadPool& pool, features::EncodedRows background)
    : run_(run),
      pool_(pool),
      background_(std::move(background)),
      predictor_(run.config, run.parameters, pool) {
  if (run.config.columns() == 0) represented_ = read_represented(run);
}

RowTarget RowExplainer::target_of(const ExplainedRow& row, const RowQuestion& question) {
  const run::RowPipeline& pipeline = run_.pipeline;
  if (pipeline.task == "regress") {
    if (!question.target.empty() && question.target != pipeline.target) {
      throw UsageError("unknown_class",
                       fmt::format("--target '{}': this run predicts the number '{}', it has no "
                                   "classes",
                                   question.target, pipeline.target),
                       "leave --target out");
    }
    return {RowTarget::Scale::kValue, 0};
  }
  RowTarget target;
  target.scale = question.log_odds ? RowTarget::Scale::kLogOdds : RowTarget::Scale::kProbability;
  target.output =
      question.target.empty()
          ? run::chosen_class(pipeline, predictor_.predict(row.inputs, pipeline.temperature))
          : class_of(pipeline, question.target);
  return target;
}

Explanation RowExplainer::explain(const data::Table& table, size_t row,
                                  const RowQuestion& question) {
  const auto begin = std::chrono::steady_clock::now();
  const ExplainedRow taken = take_row(run_, table, row, question.parts);
  const RowTarget target = target_of(taken, question);
  RowGame game(run_, predictor_, taken, background_, target);
  Explanation out;
  out.run = run_.folder.string();
  out.device = kernels::cuda::device_name(run_.parameters.gpu());
  out.task = run_.pipeline.task;
  out.input = table.where(row);
  out.target = target_name(run_.pipeline, target);
  if (target.scale != RowTarget::Scale::kValue) out.answer = run_.pipeline.classes[target.output];
  out.unit = unit_name(run_.pipeline, target);
  out.mask_policy = game.mask_policy();
  const std::optional<PartitionTree> tree = tree_of(taken, question.parts);
  EstimateOptions options = question.estimate;
  options.picture = run_.config.has_image();
  if (tree) options.tree = &*tree;
  out.parts = parts_of(taken);
  out.picture = picture_of(taken);
  const bool lime = options.method == Method::kLime, varied = lime && run_.config.columns() > 0;
  const bool follows = follows_gradients(options.method);
  GroupedGame grouped(game, group_players(out.parts, game.players(), lime && only_text()));
  uint64_t other_rows = 0;  // asked outside the game
  if (varied) out.mask_policy = lime_columns_policy(background_);
  if (follows) out.mask_policy = row_path_policy(run_, background_, options.method);
  const auto attribute = [&](run::RowRun& run, infer::RowPredictor& predictor, Game& asked) {
    if (follows) return row_gradients(run, pool_, taken, background_, target, options, other_rows);
    return varied ? lime_columns(run, predictor, taken, background_, target, options, other_rows)
                  : estimate(asked, options);
  };
  out.attribution = attribute(run_, predictor_, grouped);
  if (question.novelty && !varied && !follows) {
    out.novelty = run_.config.columns() > 0
                      ? masked_novelty(run_.pipeline.columns, taken, background_, options.seed)
                      : masked_novelty(run_, pool_, game, taken, represented_, options.seed);
  }
  if (question.influence > 0) {
    out.influence =
        find_influence(run_, pool_, taken, target, *question.training, question.influence);
  }
  if (question.attention)
    out.attention = group_sums(row_attention(run_, pool_, taken), grouped.group_of());
  add_interactions(grouped, options, question.interactions, out);
  if (question.audit) {
    run::RowRun random = untrained(run_, question.estimate.seed);
    infer::RowPredictor predictor(random.config, random.parameters, pool_);
    RowGame other(random, predictor, taken, background_, target);
    GroupedGame other_grouped(other, grouped.group_of());
    out.audit = audit(grouped, out.attribution, attribute(random, predictor, other_grouped));
  }
  if (question.reasons > 0) {
    out.reasons =
        find_reasons(grouped, out, taken, background_, question.dictionary, question.reasons);
  }
  if (question.wants_counterfactual)
    out.counterfactual = find_counterfactual(run_, predictor_, taken, question.counterfactual);
  out.rows_answered = game.answered() + other_rows;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return out;
}

GlobalExplanation explain_rows(RowExplainer& explainer, const run::RowPipeline& pipeline,
                               const data::Table& table, std::span<const size_t> rows,
                               RowQuestion question, Reporter& reporter) {
  const bool each = question.target.empty() && pipeline.task == "classify" && pipeline.positive < 0;
  if (question.target.empty() && pipeline.positive >= 0)
    question.target = pipeline.classes[static_cast<size_t>(pipeline.positive)];
  question.novelty = false;  // of one row alone
  std::vector<Explanation> explained;
  Estimate estimate(static_cast<double>(rows.size()));
  for (const size_t row : rows) {
    if (interrupted()) break;
    explained.push_back(explainer.explain(table, row, question));
    const auto done = static_cast<double>(explained.size());
    reporter.progress(fmt::format("{} of {} rows explained, {} left", explained.size(), rows.size(),
                                  format_duration(estimate.seconds_left(done))),
                      explained.size() == rows.size());
  }
  GlobalExplanation global = summarise(explained, question.estimate.seed);
  if (each) global.target = global.unit + " of the class chosen for each row";
  return global;
}

std::vector<ExplainedPart> parts_of(const ExplainedRow& row) {
  std::vector<ExplainedPart> parts;
  std::vector<int> player_of(row.words.size(), -1);
  for (size_t i = 0; i < row.parts.size(); ++i) {
    const RowPart& part = row.parts[i];
    if (part.kind == RowPart::Kind::kWord) {
      player_of[part.word] = static_cast<int>(i);
    } else {
      parts.push_back({part.kind == RowPart::Kind::kColumn ? "column" : "patch", part.name,
                       part.value, static_cast<int>(i)});
    }
  }
  for (size_t w = 0; w < row.words.size(); ++w) {
    parts.push_back(
        {row.words[w].special ? "special" : "word", row.words[w].text, "", player_of[w]});
  }
  return parts;
}

std::string target_name(const run::RowPipeline& pipeline, RowTarget target) {
  switch (target.scale) {
    case RowTarget::Scale::kValue:
      return "predicted " + pipeline.target;
    case RowTarget::Scale::kLogOdds:
      return fmt::format("log-odds of {} = {}", pipeline.target, pipeline.classes[target.output]);
    default:
      return fmt::format("probability of {} = {}", pipeline.target,
                         pipeline.classes[target.output]);
  }
}

std::string unit_name(const run::RowPipeline& pipeline, RowTarget target) {
  switch (target.scale) {
    case RowTarget::Scale::kValue:
      return pipeline.target;
    case RowTarget::Scale::kLogOdds:
      return "log-odds";
    default:
      return "probability";
  }
}

}  // namespace quern::explain
