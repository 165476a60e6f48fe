#include "quern/task/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quern/base/error.h"
#include "quern/features/token_cache.h"
#include "quern/features/tokenizer_training.h"

namespace quern::task {
namespace {

TokenStream stream_of(std::shared_ptr<const features::TokenCache> cache, data::Part part) {
  TokenStream stream;
  stream.tokens = (*cache)[part].tokens();
  if (stream.tokens < 2) {
    throw Error("too_short", fmt::format("the {} part has fewer than two tokens", data::name(part)),
                "give more text, or another data.validation");
  }
  stream.read = [cache = std::move(cache), part](uint64_t begin, std::span<uint32_t> out) {
    (*cache)[part].read(begin, out);
  };
  return stream;
}

}  // namespace

data::TextOptions text_options(const run::Options& options) {
  data::TextOptions text;
  text.validation = options.text("data.validation");
  text.test = options.number("data.test");
  text.split = options.text("data.split");
  text.documents = options.text("data.documents");
  text.column = options.text("data.column");
  text.seed = static_cast<uint64_t>(options.integer("seed"));
  return text;
}

std::shared_ptr<const features::Tokenizer> make_tokenizer(const data::TextCorpus& corpus,
                                                          const run::Options& options,
                                                          Reporter& reporter) {
  const std::string kind(options.text("tokenizer.kind"));
  if (kind.ends_with(".json")) return features::Tokenizer::load(kind);
  features::TokenizerTrainOptions train;
  train.kind = features::parse_tokenizer_kind(kind);
  train.vocabulary = static_cast<size_t>(options.integer("tokenizer.vocabulary"));
  train.pattern = features::parse_split_pattern(options.text("tokenizer.pattern"));
  features::TokenizerTrainer trainer(train);
  corpus.for_each(data::Part::kTrain, [&](const data::TextPiece& piece) {
    const uint64_t before = trainer.bytes();
    trainer.feed(piece.text);
    if (before >> 22 == trainer.bytes() >> 22) return;  // every 4 MiB
    reporter.progress(
        fmt::format("tokenizer: read {}", format_bytes(static_cast<double>(trainer.bytes()))));
  });
  return trainer.finish();
}

GenerateTask make_generate_task(data::TextCorpus corpus,
                                std::shared_ptr<const features::Tokenizer> tokenizer,
                                const fs::path& cache_folder, ThreadPool& pool,
                                Reporter& reporter) {
  GenerateTask task;
  task.tokenizer = std::move(tokenizer);
  const auto cache = std::make_shared<const features::TokenCache>(
      features::open_token_cache(corpus, *task.tokenizer, cache_folder, pool, reporter));
  task.train = stream_of(cache, data::Part::kTrain);
  task.validation = stream_of(cache, data::Part::kValidation);
  task.bytes_per_token = static_cast<double>((*cache)[data::Part::kValidation].predicted_bytes()) /
                         static_cast<double>(task.validation.tokens - 1);
  task.pipeline.task = "generate";
  task.pipeline.data_fingerprint = corpus.fingerprint();
  task.pipeline.tokenizer_fingerprint = fmt::format("{:016x}", task.tokenizer->fingerprint());
  for (const data::Part part : {data::Part::kTrain, data::Part::kValidation, data::Part::kTest}) {
    const data::PartCounts& counts = corpus.counts()[part];
    const std::string name(data::name(part));
    task.pipeline.counts[name + ".documents"] = counts.documents;
    task.pipeline.counts[name + ".bytes"] = counts.bytes;
    task.pipeline.counts[name + ".characters"] = counts.characters;
  }
  task.pipeline.counts["train.tokens"] = task.train.tokens;
  task.pipeline.counts["validation.tokens"] = task.validation.tokens;
  task.corpus = std::move(corpus);
  return task;
}

}  // namespace quern::task
