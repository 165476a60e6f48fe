#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "quern/base/error.h"
#include "quern/cli/evaluate.h"
#include "quern/data/corpus_builder.h"
#include "quern/infer/text_scorer.h"
#include "quern/run/run_folder.h"
#include "quern/task/generate.h"

namespace quern::cli {
namespace {

/// Each document of the files to the scorer, with progress.
void read_all(const EvaluateFlags& flags, const Invocation& invocation, infer::TextScorer& scorer) {
  const std::vector<fs::path> paths = flags.paths();
  const std::vector<data::DataFile> files = data::list_files(paths);
  const data::ReadOptions options = data::read_options(task::text_options(invocation.options));
  double total = 0;
  for (const data::DataFile& file : files) total += static_cast<double>(file.size);
  const Estimate estimate(total);
  double done = 0;
  for (const data::DataFile& file : files) {
    const auto tick = [&](uint64_t consumed) {
      const double now = done + static_cast<double>(consumed);
      invocation.reporter->progress(fmt::format("scoring {} of {}, {} left", format_bytes(now),
                                                format_bytes(total),
                                                format_duration(estimate.seconds_left(now))));
    };
    data::read_documents(data::open_bytes(file.path), file.path, options, scorer, tick);
    done += static_cast<double>(file.size);
  }
  scorer.finish();
}

/// Σ numerator / Σ denominator over windows, each as often as it was drawn.
double ratio(std::span<const infer::WindowScore> windows, std::span<const float> counts,
             uint64_t infer::WindowScore::*denominator) {
  double nats = 0;
  double units = 0;
  for (size_t i = 0; i < windows.size(); ++i) {
    const double count = counts.empty() ? 1 : static_cast<double>(counts[i]);
    nats += count * windows[i].nats;
    units += count * static_cast<double>(windows[i].*denominator);
  }
  return nats / units;
}

}  // namespace

int evaluate_text(Invocation& invocation, const EvaluateFlags& flags) {
  run::Run run = run::load_run(flags.run);
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run.parameters.use(invocation.gpu.get());
  infer::TextScorer scorer(run.config, run.parameters, *run.tokenizer, pool);
  read_all(flags, invocation, scorer);
  const std::span<const infer::WindowScore> windows = scorer.windows();
  uint64_t tokens = 0;
  uint64_t bytes = 0;
  for (const infer::WindowScore& window : windows) {
    tokens += window.tokens;
    bytes += window.bytes;
  }
  if (bytes == 0) {
    throw Error("too_short", "the text has no token that another one predicts",
                "give more text to score");
  }
  const auto seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  using Counts = std::span<const float>;
  const auto loss = [&](Counts counts) {
    return ratio(windows, counts, &infer::WindowScore::tokens);
  };
  const auto score = [&](const char* name, const std::function<double(Counts)>& value) {
    return metrics::Score{name, metrics::bootstrap(windows.size(), value, seed)};
  };
  const std::vector<metrics::Score> scores = {
      score("bits_per_byte",
            [&](Counts counts) {
              return ratio(windows, counts, &infer::WindowScore::bytes) / std::numbers::ln2;
            }),
      score("loss", loss),
      score("perplexity", [&](Counts counts) { return std::exp(loss(counts)); })};
  print_scores(invocation, run.parameters.gpu(), "generate", scorer.documents(),
               fmt::format("{} documents, {} tokens, {}; 95 % intervals by bootstrap over {} "
                           "windows of {} tokens",
                           scorer.documents(), tokens, format_bytes(static_cast<double>(bytes)),
                           windows.size(), run.config.context),
               scores);
  return 0;
}

}  // namespace quern::cli
