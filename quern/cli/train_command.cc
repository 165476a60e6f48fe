#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/run/run_folder.h"
#include "quern/train/gpu_ranks.h"
#include "quern/train/ranks.h"
#include "quern/train/train.h"

namespace quern::cli {
namespace {

constexpr int kInterruptedCode = 130;  // as shells say it: 128 + SIGINT

struct Flags {
  std::vector<std::string> data;
  std::string out;
  bool resume = false;
  std::shared_ptr<train::Ranks> ranks;  // where they were met already
};

/// "poems.txt.gz" -> "poems".
std::string stem(const fs::path& data) {
  std::string name = data.filename().string();
  if (name.empty()) name = data.parent_path().filename().string();
  const size_t dot = name.find('.', 1);
  name = name.substr(0, dot);
  return name.empty() || name == "." || name == ".." ? "data" : name;
}

/// NAME-run, or the first of NAME-run-2, … that is free; to resume, the last that is there.
fs::path default_run(const fs::path& data, bool resume) {
  const std::string base = stem(data) + "-run";
  fs::path last;
  fs::path next = base;
  for (int i = 2; fs::exists(next); ++i) {
    last = next;
    next = fmt::format("{}-{}", base, i);
  }
  return resume && !last.empty() ? last : next;
}

void print_human(const Invocation& invocation, const train::TrainSummary& summary) {
  const train::TrainResult& result = summary.result;
  if (result.stopped_because != train::StopReason::kInterrupted) {
    invocation.print(summary.conclusion);
    return;
  }
  invocation.print(fmt::format("interrupted at step {}, saved; go on with --resume --out {}\n",
                               train::with_commas(result.steps), summary.run.string()));
}

/// Meets the ranks that the launcher started with this one. After an error in one, all must stop;
/// only the root speaks.
std::shared_ptr<train::Ranks> join_ranks(Invocation& invocation) {
  auto ranks = std::make_shared<train::Ranks>(train::join_mpi());
  invocation.on_failure = [ranks](int code) { ranks->abort(code); };
  if (!ranks->root()) {
    invocation.json = false;
    invocation.reporter = &silent_reporter();
  }
  return ranks;
}

/// What `work` gives. An error of all ranks is the root's to report: it ends the others while they
/// wait here.
template <typename Work>
auto as_rank(const train::Ranks& ranks, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (ranks.root()) throw;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    throw Error(error.code(), fmt::format("rank {}: {}", ranks.rank(), error.what()), error.hint(),
                error.exit_code());
  }
}

train::TrainSummary train_as_rank(const train::TrainRequest& request, Reporter& reporter) {
  return as_rank(*request.ranks, [&] {
    if (request.gpu != nullptr && request.ranks->size() > 1) request.ranks->join_gpus(*request.gpu);
    return train::train(request, reporter);
  });
}

int run_train(Invocation& invocation, const Flags& flags,
              std::chrono::steady_clock::time_point started) {
  train::TrainRequest request;
  request.ranks = flags.ranks ? flags.ranks : join_ranks(invocation);
  for (const std::string& path : flags.data) request.data.emplace_back(path);
  const fs::path run =
      flags.out.empty() ? default_run(request.data.front(), flags.resume) : fs::path(flags.out);
  request.run = request.ranks->from_root(run.string());
  request.resume = flags.resume;
  request.options = invocation.options;
  request.gpu = invocation.gpu.get();
  request.started = started;
  const train::TrainSummary summary = train_as_rank(request, *invocation.reporter);
  const bool root = request.ranks->root();
  request.ranks->part();
  if (!root) {
    // Says nothing.
  } else if (invocation.json) {
    invocation.print(nlohmann::ordered_json::parse(summary.metrics_json).dump() + "\n");
  } else if (!summary.was_finished) {
    print_human(invocation, summary);
  }
  return summary.result.stopped_because == train::StopReason::kInterrupted ? kInterruptedCode : 0;
}

}  // namespace

Action declare_train(Arguments& arguments, Invocation& invocation) {
  const auto started = std::chrono::steady_clock::now();
  auto flags = std::make_shared<Flags>();
  arguments
      .value("DATA", flags->data,
             "Text to continue; a table (.csv, .tsv, .jsonl, .arff, .db, .parquet) with "
             "--target; pictures "
             "(folders by class, or IDX)")
      .required();
  arguments.value("--out", flags->out, "The run folder to make (DATA's name with -run)")
      .type_name("RUN");
  arguments.flag("--resume", flags->resume, "Go on with the run from its newest checkpoint");
  add_option_flags(arguments, invocation,
                   {{"--task", "data.task"},
                    {"--target", "data.target"},
                    {"--table", "data.table"},
                    {"--items", "data.items"},
                    {"--size", "model.size"},
                    {"--preset", "model.preset"},
                    {"--time", "train.time"},
                    {"--steps", "train.steps"},
                    {"--epochs", "train.epochs"},
                    {"--folds", "data.folds"},
                    {"--metric", "data.metric"},
                    {"--memory", "memory"},
                    {"--bit-exact", "bit_exact"}});
  invocation.open_gpu = [flags, &invocation](kernels::cuda::Precision precision,
                                             bool stochastic_rounding) {
    flags->ranks = join_ranks(invocation);
    return as_rank(*flags->ranks,
                   [&] { return train::open_gpu(*flags->ranks, precision, stochastic_rounding); });
  };
  return [flags, started](Invocation& in) { return run_train(in, *flags, started); };
}

}  // namespace quern::cli
