#pragma once

#include <memory>
#include <span>
#include <vector>

#include "quern/base/progress.h"
#include "quern/base/thread_pool.h"
#include "quern/data/text_corpus.h"
#include "quern/features/tokenizer.h"
#include "quern/run/options.h"
#include "quern/run/run_folder.h"
#include "quern/task/text_windows.h"

namespace quern::task {

/// Learning to continue text: what the trainer reads, and what its result is held against.
struct GenerateTask {
  std::shared_ptr<const features::Tokenizer> tokenizer;
  data::TextCorpus corpus;
  TokenStream train, validation;
  run::Pipeline pipeline;
  double bytes_per_token = 0;  // of the validation text, for each predicted token of it
};

/// Options of section [data] as the reader takes them.
data::TextOptions text_options(const run::Options& options);

/// The tokenizer that the decided options ask for: trained on the training part, or read from a
/// file. The same text and options give the same tokenizer.
std::shared_ptr<const features::Tokenizer> make_tokenizer(const data::TextCorpus& corpus,
                                                          const run::Options& options,
                                                          Reporter& reporter);

/// Opens the tokens of the parts from the `cache_folder`, encoding them where it lacks them. Throws
/// Error("too_short") where a part has fewer than two tokens.
GenerateTask make_generate_task(data::TextCorpus corpus,
                                std::shared_ptr<const features::Tokenizer> tokenizer,
                                const fs::path& cache_folder, ThreadPool& pool, Reporter& reporter);

}  // namespace quern::task
