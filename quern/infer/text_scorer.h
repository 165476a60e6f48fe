#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/data/document_rule.h"
#include "quern/features/tokenizer.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"
#include "quern/task/text_windows.h"

namespace quern::infer {

/// What a window of text costs a model.
struct WindowScore {
  double nats = 0;                 // of its tokens
  uint64_t tokens = 0, bytes = 0;  // predicted; special tokens stand for no bytes
};

/// Scores documents as they come, in bounded memory: one stream with the end of text between them,
/// cut into consecutive windows as the validation part of training is, so that every token but the
/// first is predicted once.
class TextScorer final : public data::DocumentSink {
 public:
  /// Parameters and tokenizer must outlive the scorer.
  TextScorer(const model::ModelConfig& config, graph::ParameterStore& parameters,
             const features::Tokenizer& tokenizer, ThreadPool& pool);

  void text(std::string_view piece) override;
  void end() override;
  /// After the last document.
  void finish();

  std::span<const WindowScore> windows() const { return windows_; }
  uint64_t documents() const { return documents_; }

 private:
  void take_windows();
  void add_row(int64_t targets);
  void run();

  model::ModelConfig config_;
  const features::Tokenizer& tokenizer_;
  features::Separator separator_;
  graph::StateStore states_;
  graph::Executor executor_;
  task::WindowBatch batch_;
  std::vector<uint32_t> tokens_;  // not yet scored, from begin_ on
  size_t begin_ = 0;
  int64_t rows_ = 0;  // of the batch, filled
  std::vector<uint32_t> buffer_;
  std::vector<WindowScore> windows_;
  uint64_t documents_ = 0;
  bool open_ = false;  // within a document
};

}  // namespace quern::infer
