#include "quern/task/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quern/base/error.h"
#include "quern/features/tokenizer_training.h"

namespace quern::task {
namespace {

TokenStream in_memory(std::shared_ptr<const std::vector<uint32_t>> tokens) {
  TokenStream stream;
  stream.tokens = tokens->size();
  stream.read = [tokens = std::move(tokens)](uint64_t begin, std::span<uint32_t> out) {
    std::copy_n(tokens->begin() + static_cast<int64_t>(begin), out.size(), out.begin());
  };
  return stream;
}

TokenStream encode(const data::TextCorpus& corpus, data::Part part,
                   const features::Tokenizer& tokenizer, Reporter& reporter) {
  auto tokens = std::make_shared<std::vector<uint32_t>>();
  const auto end_of_text = tokenizer.end_of_text();
  const auto total = static_cast<double>(corpus.counts()[part].bytes);
  const Estimate estimate(total);
  double done = 0;
  corpus.for_each(part, [&](const data::TextPiece& piece) {
    if (piece.first && piece.begins && tokens->empty() && end_of_text) {
      tokens->push_back(*end_of_text);
    }
    tokenizer.encode(piece.text, *tokens);
    if (piece.last && piece.ends && end_of_text) tokens->push_back(*end_of_text);
    done += static_cast<double>(piece.text.size());
    reporter.progress(fmt::format("encoding {}: {} of {}, {} left", data::name(part),
                                  format_bytes(done), format_bytes(total),
                                  format_duration(estimate.seconds_left(done))));
  });
  if (tokens->size() < 2) {
    throw Error("too_short", fmt::format("the {} part has fewer than two tokens", data::name(part)),
                "give more text, or another data.validation");
  }
  return in_memory(std::move(tokens));
}

}  // namespace

double GenerateTask::bytes_per_token() const {
  return static_cast<double>(corpus.counts()[data::Part::kValidation].bytes) /
         static_cast<double>(validation.tokens - 1);
}

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
    trainer.feed(piece.text);
    reporter.progress(
        fmt::format("tokenizer: read {}", format_bytes(static_cast<double>(trainer.bytes()))));
  });
  return trainer.finish();
}

GenerateTask make_generate_task(data::TextCorpus corpus,
                                std::shared_ptr<const features::Tokenizer> tokenizer,
                                Reporter& reporter) {
  GenerateTask task;
  task.tokenizer = std::move(tokenizer);
  task.train = encode(corpus, data::Part::kTrain, *task.tokenizer, reporter);
  task.validation = encode(corpus, data::Part::kValidation, *task.tokenizer, reporter);
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
