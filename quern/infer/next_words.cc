#include <algorithm>
#include <map>
#include <queue>

#include "quern/base/text_encoding.h"
#include "quern/features/word_boundary.h"
#include "quern/infer/generate.h"

namespace quern::infer {
namespace {

/// A spelling that may still grow.
struct Path {
  double probability = 0;
  std::vector<uint32_t> tokens;
  std::string text;

  bool operator<(const Path& other) const {
    return probability != other.probability ? probability < other.probability
                                            : tokens > other.tokens;
  }
};

}  // namespace

NextWords next_words(Session& session, const features::Tokenizer& tokenizer,
                     std::string_view prompt, size_t k, size_t max_evaluations) {
  const std::vector<uint32_t> tokens = prompt_tokens(tokenizer, prompt);
  session.feed(tokens);
  // Room for the spellings, so that no feed below forgets a part of the prompt.
  constexpr size_t kLongestSpelling = 12;
  if (session.tokens().size() + kLongestSpelling > session.context()) {
    const std::vector<uint32_t> held(session.tokens().begin(), session.tokens().end());
    session.reset();
    session.feed(std::span(held).last(std::max<size_t>(1, session.context() / 2)));
  }
  const size_t prefix = session.tokens().size();
  const std::vector<uint32_t> last = {session.tokens()[prefix - 1]};

  NextWords result;
  std::map<std::string, double> words;
  double continued = 0;  // mass of what would only lengthen the prompt's last word
  std::priority_queue<Path> open;
  open.push({1, {}, {}});
  result.open_mass = 1;
  const auto kth = [&] {
    if (words.size() < k) return 0.0;
    std::vector<double> sums;
    for (const auto& [word, probability] : words) sums.push_back(probability);
    std::nth_element(sums.begin(), sums.begin() + static_cast<ptrdiff_t>(k - 1), sums.end(),
                     std::greater<>());
    return sums[k - 1];
  };

  while (!open.empty() && result.evaluations < max_evaluations) {
    // Every open path together could still lift a word past the k-th; when even that is too little,
    // the order of the best is fixed.
    if (open.top().probability < 1e-7 || result.open_mass < 0.01 * kth()) break;
    const Path path = open.top();
    open.pop();
    result.open_mass -= path.probability;
    session.rewind(prefix - 1);
    std::vector<uint32_t> fed = last;
    fed.insert(fed.end(), path.tokens.begin(), path.tokens.end());
    const std::vector<double> next = probabilities(session.feed(fed));
    ++result.evaluations;
    for (uint32_t token = 0; token < next.size(); ++token) {
      const double probability = path.probability * next[token];
      const bool special = tokenizer.is_special(token);
      if (path.tokens.empty() && !special &&
          features::continues_word(prompt, tokenizer.token_bytes(token))) {
        continued += probability;
        continue;
      }
      if (probability < 1e-9) continue;
      const std::string text =
          special ? path.text : path.text + std::string(tokenizer.token_bytes(token));
      const features::WordSplit split = features::split_first_word(text);
      if (special || split.complete) {
        if (!split.word.empty()) words[split.word] += probability;
        continue;
      }
      // Punctuation before any letter begins no word.
      if (split.word.empty() && !split.only_space) continue;
      if (path.tokens.size() + 1 >= kLongestSpelling || text.size() > 64) continue;
      Path longer{probability, path.tokens, text};
      longer.tokens.push_back(token);
      result.open_mass += probability;
      open.push(std::move(longer));
    }
  }
  const double begins = std::max(1 - continued, 1e-12);
  for (auto& [word, probability] : words) result.words.push_back({word, probability / begins});
  result.open_mass /= begins;
  std::stable_sort(result.words.begin(), result.words.end(),
                   [](const auto& a, const auto& b) { return a.probability > b.probability; });
  if (result.words.size() > k) result.words.resize(k);
  session.rewind(prefix);
  return result;
}

}  // namespace quern::infer
