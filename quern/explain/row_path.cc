#include "quern/explain/row_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "quern/base/error.h"
#include "quern/explain/answer_gradient.h"
#include "quern/infer/generate.h"

namespace quern::explain {
namespace {

void append(std::vector<float>& to, std::span<const float> from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// Adds up coordinates [begin, begin + count) for a player.
double sum_of(std::span<const double> coordinates, size_t begin, size_t count) {
  double sum = 0;
  for (const double one : coordinates.subspan(begin, count)) sum += one;
  return sum;
}

}  // namespace

RowPath::RowPath(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row,
                 const features::EncodedRows& background, RowTarget target)
    : run_(run),
      pool_(pool),
      row_(row),
      target_(target),
      predictor_(run.config, run.parameters, pool),
      game_(run, predictor_, row, background, target) {
  plan();
  path_.players = row.parts.size();
  std::vector<float> own = embed(row.inputs);
  own.resize(linear_begin_, 1.0F);  // n-grams are all there
  const size_t moves =
      run.config.linear ? path_.players * static_cast<size_t>(run.config.outputs) : 0;
  path_.x.assign(own.begin(), own.end());
  path_.x.resize(linear_begin_ + moves, 0.0);
  const auto rows = static_cast<size_t>(std::max<int64_t>(background.rows, 1));
  for (size_t i = 0; i < rows; ++i) {
    std::vector<float>& other = path_.baselines.emplace_back(embed(baseline(background, i)));
    other.resize(linear_begin_, 0.0F);
    if (run.config.linear) append(other, linear_moves(i));
  }
  path_.gather = [this](std::span<const double> coordinates, std::span<double> players) {
    gather(coordinates, players);
  };
}

void RowPath::plan() {
  const model::EncoderConfig& config = run_.config;
  const auto make = [&](const model::EncoderTrace& trace, bool gradients) {
    graph::Graph graph = model::trace_encoder(config, run_.parameters, trace);
    graph::PlanOptions options;
    options.backward = gradients;
    options.parameter_gradients = false;
    for (const Tensor& tensor : tensors_)
      if (gradients) options.wrt.push_back(graph.input(tensor.name));
    return std::make_unique<graph::Executor>(graph::Plan(std::move(graph), options),
                                             run_.parameters, states_, pool_);
  };
  shown_ = make({.tokens = model::Tokens::kShown}, false);
  using Kind = Tensor::Kind;
  const auto add = [&](Kind kind, const std::string& name, int64_t copy) {
    size_t size = 0;
    if (kind == Kind::kImage) size = static_cast<size_t>(shown_->input(name).elements());
    if (kind == Kind::kColumns || kind == Kind::kText)
      size = static_cast<size_t>(shown_->output(name).elements());
    tensors_.push_back({kind, name, copy, grams_begin_, size});
    grams_begin_ += size;
  };
  for (int64_t copy = 0; copy < config.copies; ++copy) {
    const std::string prefix = config.copy_prefix(copy);
    if (config.columns() > 0) add(Kind::kColumns, prefix + "column_tokens", copy);
    if (config.has_text()) add(Kind::kText, prefix + "text_tokens", copy);
    if (config.ngram_buckets > 0) add(Kind::kBag, prefix + "bag", copy);
  }
  if (config.has_image()) add(Kind::kImage, "image", 0);
  if (config.linear) add(Kind::kLinear, "linear", 0);
  linear_begin_ = grams_begin_ + row_.ngrams.size();
  given_ = make({.tokens = model::Tokens::kGiven, .weighed_logits = true}, true);
  if (!config.has_text()) return;
  const auto count = static_cast<int32_t>(std::max<size_t>(row_.tokens.size(), 1));
  *given_->input("lengths").i32() = count;
  const auto others = static_cast<int32_t>(config.columns() + config.image_tokens());
  if (others > 0) *given_->input("sequence_lengths").i32() = others + count;
}

/// The first coordinates of a row.
std::vector<float> RowPath::embed(const task::RowInputs& one) {
  task::fill_rows(run_.config, one, std::array<int64_t, 1>{0}, *shown_, nullptr, 0, &pool_);
  shown_->run();
  std::vector<float> all;
  for (const Tensor& tensor : tensors_) {
    if (tensor.size == 0) continue;
    const TensorView view = tensor.kind == Tensor::Kind::kImage ? shown_->input(tensor.name)
                                                                : shown_->output(tensor.name);
    append(all, view.f32_span());
  }
  return all;
}

std::vector<float> RowPath::linear_moves(size_t background) {
  const auto outputs = static_cast<size_t>(run_.config.outputs);
  const size_t players = path_.players;
  Coalitions coalitions(players);
  for (size_t player = 0; player < players; ++player) {
    const std::span<uint8_t> flags = coalitions.add();
    std::ranges::fill(flags, uint8_t{1});
    flags[player] = 0;
  }
  coalitions.add();
  const std::vector<float> scores = game_.rows_of(coalitions, background).linear;
  std::vector<float> moves(players * outputs);
  for (size_t o = 0; o < outputs; ++o) {
    const float own = row_.inputs.linear[o];
    float left = scores[players * outputs + o] - own;  // of the whole way
    for (size_t player = 0; player < players; ++player) {
      moves[player * outputs + o] = scores[player * outputs + o] - own;
      left -= moves[player * outputs + o];
    }
    // Columns and pixels add up. Words of one text do not: they share what is left.
    for (size_t player = 0; player < players; ++player)
      moves[player * outputs + o] += left / static_cast<float>(players);
  }
  return moves;
}

task::RowInputs RowPath::baseline(const features::EncodedRows& background, size_t index) const {
  task::RowInputs one = row_.inputs;
  const auto take = [index](auto& to, const auto& from, int64_t width) {
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(index) * width;
    to.assign(first, first + width);
  };
  if (background.rows > 0) {
    take(one.columns.places, background.places, background.numbers);
    take(one.columns.category_ids, background.category_ids, background.categories);
  }
  if (run_.config.has_text()) {
    std::ranges::fill(one.tokens, infer::prompt_tokens(*run_.tokenizer, "").front());
    one.ngrams.clear();
    if (!one.ngram_begins.empty()) one.ngram_begins = {0, 0};
  }
  const features::PictureFeature& picture = one.columns.picture;
  const auto channels = static_cast<size_t>(picture.channels);
  for (size_t i = 0; i < one.columns.pixels.size(); ++i)
    one.columns.pixels[i] = static_cast<uint8_t>(std::lround(255 * picture.mean[i % channels]));
  return one;
}

/// What an n-gram adds to a copy's bag when it is all there, times the number of n-grams.
std::vector<float> RowPath::gram(int64_t copy, size_t index) const {
  const int32_t table = run_.parameters.find(run_.config.copy_prefix(copy) + "embed.ngram");
  const int64_t width = run_.config.trunk.width;
  std::vector<float> row(static_cast<size_t>(width));
  run_.parameters.read(table, static_cast<int64_t>(row_.ngrams[index].row) * width, row);
  return row;
}

void RowPath::write_bag(const Tensor& tensor, std::span<const double> x) const {
  const std::span<float> out = given_->input(tensor.name).f32_span();
  std::ranges::fill(out, 0.0F);
  const float share = 1 / static_cast<float>(row_.ngrams.size());
  for (size_t g = 0; g < row_.ngrams.size(); ++g) {
    const std::vector<float> row = gram(tensor.copy, g);
    const float there = share * static_cast<float>(x[grams_begin_ + g]);
    for (size_t c = 0; c < out.size(); ++c) out[c] += there * row[c];
  }
}

void RowPath::write(std::span<const double> x) {
  for (const Tensor& tensor : tensors_) {
    const std::span<float> out = given_->input(tensor.name).f32_span();
    if (tensor.kind == Tensor::Kind::kBag) {
      write_bag(tensor, x);
    } else if (tensor.kind == Tensor::Kind::kLinear) {
      std::ranges::copy(row_.inputs.linear, out.begin());
      for (size_t i = linear_begin_; i < x.size(); ++i)
        out[(i - linear_begin_) % out.size()] += static_cast<float>(x[i]);
    } else {
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(x[tensor.begin + i]);
    }
  }
}

void RowPath::take(const Tensor& tensor, std::span<double> gradient) const {
  const std::span<const float> found =
      given_->gradient(given_->plan().graph().input(tensor.name)).f32_span();
  if (tensor.kind == Tensor::Kind::kBag) {
    for (size_t g = 0; g < row_.ngrams.size(); ++g) {
      const std::vector<float> row = gram(tensor.copy, g);
      double sum = 0;
      for (size_t c = 0; c < row.size(); ++c)
        sum += static_cast<double>(row[c]) * static_cast<double>(found[c]);
      gradient[grams_begin_ + g] += sum / static_cast<double>(row_.ngrams.size());
    }
  } else if (tensor.kind == Tensor::Kind::kLinear) {
    for (size_t i = linear_begin_; i < gradient.size(); ++i)
      gradient[i] = static_cast<double>(found[(i - linear_begin_) % found.size()]);
  } else {
    std::ranges::copy(found, gradient.begin() + static_cast<std::ptrdiff_t>(tensor.begin));
  }
}

double RowPath::operator()(std::span<const double> x, std::span<double> gradient) {
  write(x);
  const std::span<float> weight = given_->input("logit_weight").f32_span();
  given_->run();
  std::vector<double> by_logit(weight.size());
  const double value =
      answer_gradient(run_.pipeline, target_, static_cast<size_t>(run_.config.outputs),
                      given_->output("logits").f32_span(), by_logit);
  std::ranges::transform(by_logit, weight.begin(), [](double d) { return static_cast<float>(d); });
  given_->run();
  ++answered_;
  std::ranges::fill(gradient, 0.0);
  for (const Tensor& tensor : tensors_) take(tensor, gradient);
  return value;
}

void RowPath::gather(std::span<const double> coordinates, std::span<double> players) const {
  const auto width = static_cast<size_t>(run_.config.trunk.width);
  const auto numbers = static_cast<size_t>(run_.config.numbers);
  const auto channels = static_cast<size_t>(row_.inputs.columns.picture.channels);
  for (const Tensor& tensor : tensors_) {
    for (size_t i = 0; i < row_.parts.size(); ++i) {
      const RowPart& part = row_.parts[i];
      const auto add = [&](size_t token, size_t count, size_t size) {
        players[i] += sum_of(coordinates, tensor.begin + token * size, count * size);
      };
      if (tensor.kind == Tensor::Kind::kColumns) {
        for (const size_t n : part.numbers) add(n, 1, width);
        for (const size_t c : part.categories) add(numbers + c, 1, width);
      } else if (tensor.kind == Tensor::Kind::kText && part.kind == RowPart::Kind::kWord) {
        const features::Word& word = row_.words[part.word];
        const size_t end = std::min(word.token_end, row_.tokens.size());
        if (word.token_begin < end) add(word.token_begin, end - word.token_begin, width);
      } else if (tensor.kind == Tensor::Kind::kImage) {
        for (const uint32_t pixel : part.pixels) add(pixel, 1, channels);
      } else if (tensor.kind == Tensor::Kind::kLinear) {
        const auto outputs = static_cast<size_t>(run_.config.outputs);
        players[i] += sum_of(coordinates, linear_begin_ + i * outputs, outputs);
      }
    }
  }
  gather_grams(coordinates, players);
}

/// An n-gram's contribution is shared by the words that it touches.
void RowPath::gather_grams(std::span<const double> coordinates, std::span<double> players) const {
  std::vector<size_t> touched;
  for (size_t g = 0; g < row_.ngrams.size(); ++g) {
    touched.clear();
    for (size_t i = 0; i < row_.parts.size(); ++i) {
      if (row_.parts[i].kind != RowPart::Kind::kWord) continue;
      const features::Word& word = row_.words[row_.parts[i].word];
      if (word.begin < row_.ngrams[g].end && row_.ngrams[g].begin < word.end) touched.push_back(i);
    }
    for (const size_t i : touched)
      players[i] += coordinates[grams_begin_ + g] / static_cast<double>(touched.size());
  }
}

Attribution row_gradients(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row,
                          const features::EncodedRows& background, RowTarget target,
                          const EstimateOptions& options, uint64_t& answered) {
  if (options.method == Method::kExpectedGradients && background.rows == 0) {
    throw UsageError("other_method",
                     "--method eg starts from background rows, and a run without columns has none",
                     "use --method ig");
  }
  RowPath path(run, pool, row, background, target);
  Attribution result = path_attribution(
      [&](std::span<const double> x, std::span<double> gradient) { return path(x, gradient); },
      path.path(), options);
  answered += path.answered();
  return result;
}

std::string row_path_policy(const run::RowRun& run, const features::EncodedRows& background,
                            Method method) {
  std::string from;
  const auto also = [&](const std::string& baseline) {
    from += fmt::format("{}{}", from.empty() ? "" : "; ", baseline);
  };
  if (run.config.columns() > 0) {
    also(method == Method::kExpectedGradients
             ? fmt::format("columns from one of {} background rows", background.rows)
             : fmt::format("columns from the mean embedding of {} background rows",
                           background.rows));
  }
  if (run.config.has_text()) also("words from the token that begins a document, n-grams from none");
  if (run.config.has_image()) also("pixels from the mean colour of the training pictures");
  if (run.config.linear) also("scores of the linear model from those of the baseline");
  return fmt::format(
      "nothing is left out; embeddings move on a straight line from a baseline to the input ({}).",
      from);
}

}  // namespace quern::explain
