#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/graph/quantized.h"
#include "quern/infer/session.h"
#include "quern/kernels/cpu/machine.h"
#include "quern/model/decoder.h"
#include "quern/run/defaults.h"
#include "quern/run/quantize.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/train_text.h"

namespace quern::cli {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

/// Uniform tokens from the counter: no data, no memory.
task::TokenStream random_tokens(int64_t vocabulary, uint64_t seed) {
  task::TokenStream stream;
  stream.tokens = uint64_t{1} << 24;
  stream.read = [=](uint64_t begin, std::span<uint32_t> out) {
    Random random(seed, Stream::kTest, begin);
    for (uint32_t& token : out) {
      token = static_cast<uint32_t>(random.below(static_cast<uint64_t>(vocabulary)));
    }
  };
  return stream;
}

/// What was said, with a vocabulary and the defaults of a text of unknown size.
run::Options decided(const Invocation& invocation) {
  run::Options options = invocation.options;
  if (options.is_auto("tokenizer.vocabulary")) {
    options.set("tokenizer.vocabulary", int64_t{8192}, run::Layer::kData, "bench");
  }
  run::decide_text(options, {0, 0});
  return options;
}

int bench_train(Invocation& invocation) {
  const int64_t asked = invocation.options.integer("train.steps");
  const int64_t steps = asked > 0 ? asked : 20;
  const run::Options options = decided(invocation);
  const model::ModelConfig config =
      run::model_config(options, options.integer("tokenizer.vocabulary"));
  train::EngineOptions engine_options = train::engine_options(options, invocation.gpu.get());
  ThreadPool pool(static_cast<int>(options.integer("threads")));
  const task::TokenStream stream = random_tokens(config.vocabulary, engine_options.seed);
  task::TextProblem problem(config, stream, stream, options.number("regularise.token_dropout"),
                            engine_options.seed);
  train::Ranks alone;
  train::fit_memory(problem, engine_options, options, alone, *invocation.reporter);
  train::Engine engine(problem, engine_options, pool, alone);
  // Before and after: a machine whose speed drifts is held against its better moment.
  const kernels::cuda::Gpu* gpu = invocation.gpu.get();
  double peak = train::peak_flops(gpu, pool) / 1e9;
  std::vector<double> times;
  constexpr int64_t kWarmUp = 2;
  for (int64_t step = 0; step < steps + kWarmUp; ++step) {
    const auto begin = Clock::now();
    engine.step(step, options.number("train.learning_rate"));
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    if (step >= kWarmUp) times.push_back(ms);
    invocation.reporter->progress(fmt::format("step {}: {:.2f} ms", step + 1, ms));
  }
  peak = std::max(peak, train::peak_flops(gpu, pool) / 1e9);
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const auto tokens = static_cast<double>(engine.targets_per_step());
  const double flops = engine.flops_per_step();
  ordered_json json{
      {"preset", config.preset},
      {"parameters", engine.parameters().count()},
      {"threads", pool.threads()},
      {"steps", steps},
      {"tokens_per_step", engine.targets_per_step()},
      {"tokens_per_second", tokens / median * 1000},
      {"step_ms", {{"median", median}, {"min", times.front()}}},
      {"flops_per_token", flops / tokens},
      {"flops_counted", "matrix products and attention, forward and backward, 2 a multiply-add"},
      {"gflops", flops / median / 1e6},
      {"recomputed_layers",
       {{"light", engine_options.recompute.light}, {"full", engine_options.recompute.full}}},
      {"planned_bytes", engine.planned_bytes()},
      {"allocated_bytes", engine.allocated_bytes()}};
  std::string share;
  if (peak > 0) {  // of a GPU none is measured
    json["peak_gflops"] = peak;
    json["share_of_peak"] = flops / median / 1e6 / peak;
    share = fmt::format(", {:.0f} % of the machine's peak of {:.0f}",
                        100 * flops / median / 1e6 / peak, peak);
  }
  if (invocation.json) {
    invocation.print(json.dump() + "\n");
  } else {
    invocation.print(fmt::format(
        "{} parameters, {} threads: {:.2f} ms a step (fastest {:.2f}), {:.0f} tokens/s, {:.1f} "
        "GFLOP/s{}\nplanned {}, allocated {}\n",
        format_count(static_cast<double>(engine.parameters().count())), pool.threads(), median,
        times.front(), tokens / median * 1000, flops / median / 1e6, share,
        format_bytes(static_cast<double>(engine.planned_bytes())),
        format_bytes(static_cast<double>(engine.allocated_bytes()))));
  }
  return 0;
}

/// Bytes that one token reads when `length` are in the cache: every weight once, of tables that are
/// only looked up the rows in use, and the keys and values.
double bytes_per_token(const model::ModelConfig& config, const graph::ParameterStore& parameters,
                       double length) {
  double bytes = 0;
  const auto size = static_cast<double>(size_of(parameters.activation_type()));
  for (const graph::ParameterInfo& info : parameters.parameters()) {
    const bool looked_up = (info.name == "embed.weight" && !config.tie_embeddings) ||
                           info.name == "embed.position" || info.name == "embed.ngram";
    const int64_t rows = info.name == "embed.ngram" ? config.ngram_orders : 1;
    const auto elements =
        static_cast<size_t>(looked_up ? rows * config.width : info.shape.elements());
    bytes += is_quantized(info.dtype) ? static_cast<double>(bytes_of(info.dtype, elements))
                                      : size * static_cast<double>(elements);
  }
  return bytes + size * 2 * length *
                     static_cast<double>(config.layers * config.kv_heads * config.head_width());
}

/// Random weights, of fewer bits where `kind` names them.
graph::ParameterStore random_weights(const model::ModelConfig& config, uint64_t seed,
                                     const std::string& kind) {
  graph::ParameterStore parameters;
  model::declare_parameters(config, parameters);
  parameters.allocate();
  model::initialise(config, parameters, seed);
  if (kind.empty()) return parameters;
  model::TraceOptions options;
  options.use = model::TraceOptions::Use::kDecode;
  const auto indices = graph::quantizable_parameters(model::trace(config, parameters, options));
  return run::quantize(parameters, indices, run::quantization_of_word(kind)).parameters;
}

int bench_decode(Invocation& invocation, int64_t tokens, const std::string& kind) {
  const run::Options options = decided(invocation);
  const model::ModelConfig config =
      run::model_config(options, options.integer("tokenizer.vocabulary"));
  const auto seed = static_cast<uint64_t>(options.integer("seed"));
  graph::ParameterStore parameters = random_weights(config, seed, kind);
  parameters.use(invocation.gpu.get());
  ThreadPool pool(static_cast<int>(options.integer("threads")));
  infer::Session session(config, parameters, pool);
  const auto measure_read = [&] {  // of a GPU it is not measured
    return invocation.gpu == nullptr ? kernels::cpu::measure_read({pool}, false) : 0;
  };
  double read = measure_read();
  // From a half full context to a full one, again and again.
  std::vector<uint32_t> prompt(std::max<size_t>(session.context() / 2, 1));
  random_tokens(config.vocabulary, seed).read(0, prompt);
  session.feed(prompt);
  std::vector<double> times;
  double lengths = 0;
  for (int64_t i = 0; i < tokens; ++i) {
    if (session.tokens().size() == session.context()) session.rewind(prompt.size() - 1);
    const auto begin = Clock::now();
    session.feed(std::span(prompt).first(1));
    times.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    lengths += static_cast<double>(session.tokens().size());
  }
  // Before and after: a machine whose speed drifts is held against its better moment.
  read = std::max(read, measure_read());
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const double bytes =
      bytes_per_token(config, parameters, lengths / static_cast<double>(times.size()));
  const double share = read > 0 ? bytes / median / 1e9 / read : 0;
  if (invocation.json) {
    ordered_json json{
        {"preset", config.preset},
        {"parameters", parameters.count()},
        {"weights", kind.empty() ? std::string(name(parameters.activation_type())) : kind},
        {"threads", pool.threads()},
        {"tokens", tokens},
        {"tokens_per_second", 1 / median},
        {"token_ms", {{"median", median * 1e3}, {"min", times.front() * 1e3}}},
        {"bytes_per_token", bytes},
        {"allocated_bytes", parameters.allocated_bytes() + session.allocated_bytes()}};
    if (read > 0) {
      json["read_gb_per_second"] = read;
      json["share_of_read_bandwidth"] = share;
    }
    invocation.print(json.dump() + "\n");
  } else {
    invocation.print(fmt::format(
        "{} parameters, {} threads: {:.3f} ms a token (fastest {:.3f}), {:.0f} tokens/s\n{} read "
        "for each token{}\n",
        format_count(static_cast<double>(parameters.count())), pool.threads(), median * 1e3,
        times.front() * 1e3, 1 / median, format_bytes(bytes),
        read > 0 ? fmt::format(": {:.0f} % of the {:.1f} GB/s that memory gives (a model that "
                               "caches hold may pass 100 %)",
                               100 * share, read)
                 : ""));
  }
  return 0;
}

int bench_machine(Invocation& invocation) {
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  const kernels::cpu::Machine machine = kernels::cpu::measure_machine({pool});
  if (invocation.json) {
    const ordered_json json{
        {"instruction_set", machine.isa},
        {"threads", machine.threads},
        {"fma_gflops", {{"one", machine.gflops_one}, {"all", machine.gflops_all}}},
        {"read_gb_per_second",
         {{"one", machine.read_gb_per_s_one}, {"all", machine.read_gb_per_s_all}}}};
    invocation.print(json.dump() + "\n");
  } else {
    invocation.print(fmt::format(
        "{}, {} threads\nmultiply-add  one thread {:7.1f} GFLOP/s   all {:7.1f}\nread memory   "
        "one thread {:7.1f} GB/s      all {:7.1f}\n",
        machine.isa, machine.threads, machine.gflops_one, machine.gflops_all,
        machine.read_gb_per_s_one, machine.read_gb_per_s_all));
  }
  return 0;
}

}  // namespace

Action declare_bench(Arguments& arguments, Invocation& invocation) {
  Arguments train = arguments.subcommand("train", "Time training steps on random tokens");
  add_option_flags(
      train, invocation,
      {{"--preset", "model.preset"}, {"--size", "model.size"}, {"--steps", "train.steps"}});
  const Arguments machine = arguments.subcommand("machine", "Measure the machine's peaks");
  Arguments decode =
      arguments.subcommand("decode", "Time the tokens of one sequence, with random weights");
  add_option_flags(decode, invocation, {{"--preset", "model.preset"}, {"--size", "model.size"}});
  const auto tokens = std::make_shared<int64_t>(200);
  decode.value("--tokens", *tokens, "How many to time (200)").between(1, 1000000);
  const auto kind = std::make_shared<std::string>();
  decode.value("--quantize", *kind, "Weights of 8 or 4 bits: q8_0 or q4_0")
      .type_name("WEIGHTS")
      .one_of({"q8_0", "q4_0"});
  return [machine, decode, tokens, kind](Invocation& in) {
    if (machine.given()) return bench_machine(in);
    return decode.given() ? bench_decode(in, *tokens, *kind) : bench_train(in);
  };
}

}  // namespace quern::cli
