#include "quern/infer/generate.h"

#include <algorithm>
#include <chrono>

#include "quern/base/error.h"

namespace quern::infer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Passes text on, but holds back whatever may still become a stop text.
class StopFilter {
 public:
  StopFilter(const std::vector<std::string>& stops, const GenerateObserver& observer,
             std::string& out)
      : stops_(stops), observer_(observer), out_(out) {}

  /// True when a stop text is complete; what stands before it has been passed on.
  bool push(std::string_view text) {
    held_ += text;
    size_t found = std::string::npos;
    for (const std::string& stop : stops_) found = std::min(found, held_.find(stop));
    if (found != std::string::npos) {
      held_.resize(found);
      flush();
      return true;
    }
    pass(held_.size() - longest_beginning());
    return false;
  }
  void flush() { pass(held_.size()); }

 private:
  /// The longest end of the held text that begins a stop text.
  size_t longest_beginning() const {
    size_t longest = 0;
    for (const std::string& stop : stops_) {
      for (size_t length = std::min(stop.size() - 1, held_.size()); length > longest; --length) {
        if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length)))
          longest = length;
      }
    }
    return longest;
  }
  void pass(size_t length) {
    if (length == 0) return;
    const std::string_view text = std::string_view(held_).substr(0, length);
    out_ += text;
    if (observer_.text) observer_.text(text);
    held_.erase(0, length);
  }

  const std::vector<std::string>& stops_;
  const GenerateObserver& observer_;
  std::string& out_;
  std::string held_;
};

}  // namespace

std::string_view name(StopReason reason) {
  switch (reason) {
    case StopReason::kLength:
      return "length";
    case StopReason::kEndOfText:
      return "end_of_text";
    case StopReason::kStopText:
      return "stop";
    case StopReason::kInterrupted:
      return "interrupted";
  }
  return "?";
}

std::vector<uint32_t> prompt_tokens(const features::Tokenizer& tokenizer, std::string_view prompt) {
  std::vector<uint32_t> tokens = tokenizer.encode(prompt);
  if (!tokens.empty()) return tokens;
  if (const auto end = tokenizer.end_of_text()) return {*end};
  if (const auto line_feed = tokenizer.find("\n")) return {*line_feed};
  return {0};
}

GenerateResult generate(Session& session, const features::Tokenizer& tokenizer,
                        std::string_view prompt, const GenerateOptions& options,
                        const GenerateObserver& observer) {
  options.sampling.validate();
  if (options.max_tokens < 0) throw UsageError("bad_value", "--max-tokens must not be negative");
  for (const std::string& stop : options.stop) {
    if (stop.empty())
      throw UsageError("bad_value", "--stop needs a text", "leave it out to stop at no text");
  }
  GenerateResult result;
  const std::vector<uint32_t> tokens = prompt_tokens(tokenizer, prompt);
  result.prompt_tokens = tokens.size();
  const auto start = Clock::now();
  std::span<const float> logits = session.feed(tokens);
  result.prompt_seconds = seconds_since(start);

  features::StreamingDecoder decoder(tokenizer, true);
  StopFilter filter(options.stop, observer, result.text);
  std::vector<Candidate> work;
  const auto generation = Clock::now();
  auto step_start = generation;
  bool stopped = false;
  while (static_cast<int64_t>(result.steps.size()) < options.max_tokens) {
    if (observer.interrupted && observer.interrupted()) {
      result.reason = StopReason::kInterrupted;
      break;
    }
    GenerateStep step;
    step.token = sample(options.sampling, logits, session.tokens(), result.steps.size(), work);
    const std::vector<double> distribution = probabilities(logits);
    step.probability = distribution[step.token];
    step.entropy = entropy(distribution);
    if (options.candidates > 0) step.candidates = likeliest(logits, options.candidates);
    step.seconds = seconds_since(step_start);
    step_start = Clock::now();
    result.steps.push_back(step);
    if (observer.step) observer.step(step);
    if (step.token == tokenizer.end_of_text()) {
      result.reason = StopReason::kEndOfText;
      break;
    }
    if (filter.push(decoder.push(step.token))) {
      result.reason = StopReason::kStopText;
      stopped = true;
      break;
    }
    if (static_cast<int64_t>(result.steps.size()) == options.max_tokens) break;
    logits = session.feed({&step.token, 1});
  }
  if (!stopped && !filter.push(decoder.finish())) filter.flush();
  result.seconds = seconds_since(generation);
  return result;
}

}  // namespace quern::infer
