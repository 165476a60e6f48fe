#include "quern/task/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "quern/base/random.h"
#include "quern/features/word_ngrams.h"
#include "quern/task/row_masker.h"
#include "quern/task/text_windows.h"

namespace quern::task {
namespace {

/// One draw a (sample, place): independent of what else is drawn.
class Draws {
 public:
  Draws(const RowNoise* noise, uint64_t sample)
      : random_(noise != nullptr ? noise->seed : 0, Stream::kTokenDropout, sample) {}
  bool hit(double rate) { return rate > 0 && random_.uniform() < rate; }
  uint64_t below(uint64_t bound) { return random_.below(bound); }

 private:
  Random random_;
};

class RowFiller {
 public:
  RowFiller(const model::EncoderConfig& config, const RowInputs& rows,
            const graph::Executor& executor, const RowNoise* noise)
      : c_(config), rows_(rows), noise_(noise) {
    if (c_.numbers > 0) numbers_ = executor.input("numbers").f32();
    if (!c_.categories.empty()) categories_ = executor.input("categories").i32();
    if (c_.has_text()) {
      ids_ = executor.input("ids").i32();
      lengths_ = executor.input("lengths").i32();
      if (c_.columns() + c_.image_tokens() > 0)
        sequence_lengths_ = executor.input("sequence_lengths").i32();
    }
    if (c_.has_image()) image_ = executor.input("image").f32();
    if (c_.linear) linear_ = executor.input("linear").f32();
    if (c_.ngram_buckets > 0) {
      ngrams_ = executor.input("ngrams").i32();
      ngram_scale_ = executor.input("ngram_scale").f32();
    }
  }

  void fill(int64_t b, int64_t row, uint64_t sample) {
    const RowMasker* masker = noise_ != nullptr && row >= 0 ? noise_->masker : nullptr;
    if (masker == nullptr || !masker->masks(sample)) {
      fill_from(rows_, b, row, sample, noise_ != nullptr ? noise_->picture : PictureNoise{});
      return;
    }
    // Hidden patches keep the mean colour.
    PictureNoise noise = noise_->picture;
    noise.strength = 0;
    const RowInputs masked = masker->mask(rows_, static_cast<size_t>(row), noise_->lenders, sample);
    fill_from(masked, b, 0, sample, noise);
  }

 private:
  /// From one of `rows`.
  void fill_from(const RowInputs& rows, int64_t b, int64_t row, uint64_t sample,
                 const PictureNoise& noise) {
    Draws draws(noise_, sample);
    const double drop = noise_ != nullptr ? noise_->column_dropout : 0;
    fill_numbers(rows, b, row, draws, drop);
    fill_categories(rows, b, row, draws, drop);
    if (c_.has_image()) fill_image(rows, b, row, sample, noise);
    if (c_.has_text()) fill_text(rows, b, row, draws);
    if (c_.ngram_buckets > 0) fill_ngrams(rows, b, row, draws);
    if (c_.linear) fill_linear(rows, b, row);
  }

  void fill_linear(const RowInputs& rows, int64_t b, int64_t row) {
    float* out = linear_ + b * c_.outputs;
    if (row < 0) {
      std::fill(out, out + c_.outputs, 0.0F);
    } else {
      std::copy_n(rows.linear.begin() + row * c_.outputs, c_.outputs, out);
    }
  }

  void fill_numbers(const RowInputs& rows, int64_t b, int64_t row, Draws& draws, double drop) {
    for (int64_t i = 0; i < c_.numbers; ++i) {
      float place = std::numeric_limits<float>::quiet_NaN();
      if (row >= 0 && !draws.hit(drop)) {
        place = rows.columns.places[static_cast<size_t>(row * c_.numbers + i)];
      }
      features::ColumnEncoder::write_code(place, c_.number_bins,
                                          numbers_ + (b * c_.numbers + i) * c_.number_bins);
    }
  }

  void fill_categories(const RowInputs& rows, int64_t b, int64_t row, Draws& draws, double drop) {
    if (categories_ == nullptr) return;
    const auto count = static_cast<int64_t>(c_.categories.size());
    int64_t first = 0;
    for (int64_t i = 0; i < count; ++i) {
      int32_t id = 0;
      if (row >= 0 && !draws.hit(drop))
        id = rows.columns.category_ids[static_cast<size_t>(row * count + i)];
      categories_[b * count + i] = static_cast<int32_t>(first) + id;
      first += c_.categories[static_cast<size_t>(i)];
    }
  }

  void fill_text(const RowInputs& rows, int64_t b, int64_t row, Draws& draws) {
    const int64_t length = c_.trunk.context;
    int32_t* ids = ids_ + b * length;
    std::fill(ids, ids + length, 0);
    int64_t count = 0;
    if (row >= 0) {
      const uint64_t begin = rows.token_begins[static_cast<size_t>(row)];
      count = static_cast<int64_t>(rows.token_begins[static_cast<size_t>(row) + 1] - begin);
      const double drop = noise_ != nullptr ? noise_->token_dropout : 0;
      for (int64_t t = 0; t < count; ++t) {
        const bool replace = draws.hit(drop);
        ids[t] = static_cast<int32_t>(
            replace ? draws.below(static_cast<uint64_t>(c_.trunk.vocabulary))
                    : rows.tokens[static_cast<size_t>(begin) + static_cast<size_t>(t)]);
      }
    }
    // An empty text still has one position to look at.
    lengths_[b] = static_cast<int32_t>(std::max<int64_t>(count, 1));
    if (sequence_lengths_ != nullptr)
      sequence_lengths_[b] = static_cast<int32_t>(c_.columns() + c_.image_tokens()) + lengths_[b];
  }

  void fill_image(const RowInputs& rows, int64_t b, int64_t row, uint64_t sample,
                  const PictureNoise& noise) {
    const features::PictureFeature& feature = rows.columns.picture;
    const auto size = static_cast<size_t>(feature.pixels());
    float* out = image_ + static_cast<size_t>(b) * size;
    if (row < 0) {
      std::fill(out, out + size, 0.0F);
      return;
    }
    Random random(noise_ != nullptr ? noise_->seed : 0, Stream::kAugment, sample);
    write_picture(feature, rows.columns.picture_of(static_cast<size_t>(row)),
                  noise_ != nullptr ? &noise : nullptr, random, out);
  }

  void fill_ngrams(const RowInputs& rows, int64_t b, int64_t row, Draws& draws) {
    int32_t* bag = ngrams_ + b * c_.ngram_bag;
    std::fill(bag, bag + c_.ngram_bag, -1);
    int64_t count = 0;
    if (row >= 0) {
      const uint64_t begin = rows.ngram_begins[static_cast<size_t>(row)];
      const uint64_t end = rows.ngram_begins[static_cast<size_t>(row) + 1];
      const double drop = noise_ != nullptr ? noise_->token_dropout : 0;
      for (uint64_t i = begin; i < end; ++i) {
        if (!draws.hit(drop)) bag[count++] = rows.ngrams[static_cast<size_t>(i)];
      }
    }
    const float scale = count > 0 ? 1.0F / static_cast<float>(count) : 0.0F;
    std::fill(ngram_scale_ + b * c_.trunk.width, ngram_scale_ + (b + 1) * c_.trunk.width, scale);
  }

  const model::EncoderConfig& c_;
  const RowInputs& rows_;
  const RowNoise* noise_;
  float* numbers_ = nullptr;
  int32_t* categories_ = nullptr;
  int32_t* ids_ = nullptr;
  int32_t* lengths_ = nullptr;
  int32_t* sequence_lengths_ = nullptr;
  int32_t* ngrams_ = nullptr;
  float* ngram_scale_ = nullptr;
  float* image_ = nullptr;
  float* linear_ = nullptr;
};

/// body(index, worker) for each; by the pool's threads where there is one.
template <typename Body>
void for_rows(size_t count, ThreadPool* pool, const Body& body) {
  if (pool != nullptr) return pool->parallel_for(count, body);
  for (size_t i = 0; i < count; ++i) body(i, 0);
}

}  // namespace

RowInputs make_row_inputs(features::EncodedRows rows, const model::EncoderConfig& config,
                          const features::Tokenizer* tokenizer, std::vector<float> linear) {
  RowInputs inputs;
  inputs.linear = std::move(linear);
  inputs.columns = std::move(rows);
  if (!config.has_text()) return inputs;
  inputs.token_begins.push_back(0);
  if (config.ngram_buckets > 0) inputs.ngram_begins.push_back(0);
  for (const std::string& text : inputs.columns.texts) {
    std::vector<uint32_t> ids = tokenizer->encode(text);
    if (static_cast<int64_t>(ids.size()) > config.trunk.context)
      ids.resize(static_cast<size_t>(config.trunk.context));
    inputs.tokens.insert(inputs.tokens.end(), ids.begin(), ids.end());
    inputs.token_begins.push_back(inputs.tokens.size());
    if (config.ngram_buckets == 0) continue;
    const auto grams = features::word_ngrams(text, kBagOrders, config.ngram_buckets,
                                             static_cast<size_t>(config.ngram_bag));
    inputs.ngrams.insert(inputs.ngrams.end(), grams.begin(), grams.end());
    inputs.ngram_begins.push_back(inputs.ngrams.size());
  }
  inputs.columns.texts.clear();
  inputs.columns.texts.shrink_to_fit();
  return inputs;
}

RowInputs RowInputs::select(std::span<const size_t> indices) const {
  RowInputs out;
  out.columns = columns.select(indices);
  const auto take = [&](const auto& from, const auto& begins, auto& to, auto& to_begins) {
    if (begins.empty()) return;
    to_begins.push_back(0);
    for (const size_t row : indices) {
      to.insert(to.end(), from.begin() + static_cast<ptrdiff_t>(begins[row]),
                from.begin() + static_cast<ptrdiff_t>(begins[row + 1]));
      to_begins.push_back(to.size());
    }
  };
  take(tokens, token_begins, out.tokens, out.token_begins);
  take(ngrams, ngram_begins, out.ngrams, out.ngram_begins);
  const auto width = static_cast<ptrdiff_t>(
      columns.rows > 0 ? static_cast<int64_t>(linear.size()) / columns.rows : 0);
  for (const size_t row : indices) {
    const auto at = linear.begin() + static_cast<ptrdiff_t>(row) * width;
    out.linear.insert(out.linear.end(), at, at + width);
  }
  return out;
}

std::vector<float> linear_scores(const features::EncodedRows& rows, const run::RowRun& run) {
  return run.config.linear ? run.linear.scores(run.pipeline.columns, rows) : std::vector<float>();
}

RowInputs make_row_inputs(features::EncodedRows rows, const run::RowRun& run) {
  std::vector<float> linear = linear_scores(rows, run);
  return make_row_inputs(std::move(rows), run.config, run.tokenizer.get(), std::move(linear));
}

void fill_rows(const model::EncoderConfig& config, const RowInputs& rows,
               std::span<const int64_t> indices, const graph::Executor& executor,
               const RowNoise* noise, uint64_t first_sample, ThreadPool* pool) {
  RowFiller filler(config, rows, executor, noise);
  const auto fill = [&](size_t b, int) {
    filler.fill(static_cast<int64_t>(b), indices[b], first_sample + b);
  };
  const bool masks = noise != nullptr && noise->masker != nullptr;
  for_rows(indices.size(), config.has_image() || masks ? pool : nullptr, fill);
}

void balance_classes(RowTargets& targets) {
  std::map<int32_t, size_t> counts;
  for (const int32_t label : targets.classes) ++counts[label];
  const auto rows = static_cast<float>(targets.classes.size());
  const auto classes = static_cast<float>(counts.size());
  targets.weights.clear();
  for (const int32_t label : targets.classes)
    targets.weights.push_back(rows / classes / static_cast<float>(counts[label]));
}

RowsProblem::RowsProblem(const model::EncoderConfig& config, const KnownRows& rows,
                         std::vector<int64_t> train, std::vector<int64_t> validation,
                         const RowNoise& noise)
    : config_(config),
      rows_(rows),
      train_(std::move(train)),
      validation_(std::move(validation)),
      noise_(noise) {
  config_.validate();
  noise_.lenders = train_;
}

void RowsProblem::declare(graph::ParameterStore& store) const {
  model::declare_encoder(config_, store);
}

void RowsProblem::initialise(graph::ParameterStore& store, uint64_t seed) const {
  model::initialise_encoder(config_, store, seed);
}

graph::Graph RowsProblem::trace(Use use, int64_t rows, const graph::ParameterStore& store) const {
  return model::trace_encoder(config_, store, {.training = use == Use::kTrain, .batch = rows});
}

uint64_t RowsProblem::samples() const { return train_.size(); }

int64_t RowsProblem::training_targets(uint64_t, int64_t count) { return count; }

void RowsProblem::fill_training(uint64_t first, graph::Executor& executor) {
  const TensorView targets = executor.input("targets");
  const int64_t batch = targets.shape()[0];
  const int64_t members = config_.members;
  const uint64_t count = samples();
  const RowTargets& known = rows_.targets;
  indices_.resize(static_cast<size_t>(batch));
  float* weights = executor.input("row_weight").f32();
  for (int64_t b = 0; b < batch; ++b) {
    const uint64_t sample = first + static_cast<uint64_t>(b);
    const auto row = static_cast<size_t>(
        train_[permute(sample % count, count, noise_.seed, static_cast<uint32_t>(sample / count))]);
    indices_[static_cast<size_t>(b)] = static_cast<int64_t>(row);
    const float weight =
        (known.weights.empty() ? 1.0F : known.weights[row]) / static_cast<float>(members);
    for (int64_t k = b * members; k < (b + 1) * members; ++k) {
      weights[k] = weight;
      if (config_.answer == model::Answer::kClass) {
        targets.i32()[k] = known.classes[row];
      } else {
        targets.f32()[k] = known.values[row];
      }
    }
  }
  fill_rows(config_, rows_.inputs, indices_, executor, &noise_, first, pool_);
  if (config_.mixes) fill_partners(first, executor);
}

/// Cutmix (Yun et al. 2019): a rectangle of another row's picture, and its label by the share;
/// mixup (Zhang et al. 2018): the whole of it, faintly.
void RowsProblem::fill_partners(uint64_t first, graph::Executor& executor) {
  const auto size = static_cast<size_t>(rows_.inputs.columns.picture.pixels());
  const auto members = static_cast<size_t>(config_.members);
  float* image = executor.input("image").f32();
  float* weights = executor.input("row_weight").f32();
  float* partner_weights = executor.input("partner_weight").f32();
  int32_t* partners = executor.input("partner_targets").i32();
  for_rows(indices_.size(), pool_, [&](size_t b, int) {
    auto row = static_cast<uint64_t>(indices_[b]);
    const double share = mix_in(first + b, row, image + b * size);
    for (size_t k = b * members; k < (b + 1) * members; ++k) {
      partners[k] = rows_.targets.classes[row];
      partner_weights[k] = weights[k] * static_cast<float>(share);
      weights[k] *= static_cast<float>(1 - share);
    }
  });
}

/// Mixes another row into a sample's picture, or not; `row` becomes the other. Returns its share.
double RowsProblem::mix_in(uint64_t sample, uint64_t& row, float* picture) const {
  const PictureNoise& noise = noise_.picture;
  if (noise_.masker != nullptr && noise_.masker->masks(sample)) return 0;
  Random random(noise_.seed, Stream::kMix, sample);
  const double chance = random.uniform();
  if (chance >= noise.cutmix + noise.mixup) return 0;
  row = static_cast<uint64_t>(train_[random.below(samples())]);
  const features::PictureFeature& feature = rows_.inputs.columns.picture;
  thread_local std::vector<float> other;
  other.resize(static_cast<size_t>(feature.pixels()));
  write_picture(feature, rows_.inputs.columns.picture_of(row), &noise, random, other.data());
  if (chance >= noise.cutmix) {
    const double share = draw_mix_share(random);
    blend(other, share, picture);
    return share;
  }
  const Rectangle where = draw_rectangle(feature, random.uniform(), random);
  paste(feature, where, other.data(), picture);
  return where.share(feature);
}

uint64_t RowsProblem::evaluation_samples(Part part) const { return side(part).size(); }

void RowsProblem::begin_evaluation(Part part) {
  evaluated_ = part;
  if (part == Part::kValidation) kept_ = {};
}

void RowsProblem::share_evaluation(FunctionRef<void(std::span<double>)> sum) {
  if (evaluated_ != Part::kValidation) return;  // of the others nothing is kept
  const auto outputs = static_cast<size_t>(config_.outputs);
  const size_t width = outputs + 1;  // of a row: whether it was answered, and what
  std::vector<double> all(static_cast<size_t>(rows_.inputs.rows()) * width);
  for (size_t i = 0; i < kept_.rows.size(); ++i) {
    double* row = all.data() + static_cast<size_t>(kept_.rows[i]) * width;
    row[0] = 1;
    std::copy_n(kept_.answers.data() + i * outputs, outputs, row + 1);
  }
  sum(all);
  kept_ = {};
  for (size_t row = 0; row * width < all.size(); ++row) {
    const double* values = all.data() + row * width;
    if (values[0] == 0) continue;
    kept_.rows.push_back(static_cast<int64_t>(row));
    for (size_t i = 0; i < outputs; ++i) kept_.answers.push_back(static_cast<float>(values[1 + i]));
  }
}

int64_t RowsProblem::fill_evaluation(Part part, uint64_t first, uint64_t stride,
                                     graph::Executor& executor) {
  const auto batch = static_cast<size_t>(executor.output("logits").shape()[0]);
  const uint64_t count = evaluation_samples(part);
  indices_.assign(batch, -1);
  int64_t counted = 0;
  for (size_t b = 0; b < batch; ++b) {
    const uint64_t row = first + b * stride;
    if (row >= count) break;
    indices_[b] = side(part)[row];
    ++counted;
  }
  fill_rows(config_, rows_.inputs, indices_, executor, nullptr, 0, pool_);
  return counted;
}

double RowsProblem::evaluation_loss(graph::Executor& executor) {
  const RowTargets& targets = rows_.targets;
  const TensorView logits = executor.output("logits");
  const auto outputs = static_cast<size_t>(config_.outputs);
  std::vector<float> answers(indices_.size() * outputs);
  average_members(config_, logits.f32_span(), static_cast<int64_t>(indices_.size()),
                  answers.data());
  if (evaluated_ == Part::kValidation) keep_answers(answers);
  double sum = 0;
  for (size_t b = 0; b < indices_.size(); ++b) {
    if (indices_[b] < 0) break;
    const auto row = static_cast<size_t>(indices_[b]);
    if (config_.answer == model::Answer::kClass) {
      const float p = answers[b * outputs + static_cast<size_t>(targets.classes[row])];
      sum -= std::log(std::max(static_cast<double>(p), 1e-30));
    } else {
      const double error = static_cast<double>(answers[b] - targets.values[row]);
      sum += error * error;
    }
  }
  return sum;
}

void RowsProblem::keep_answers(const std::vector<float>& answers) {
  const auto outputs = static_cast<size_t>(config_.outputs);
  for (size_t b = 0; b < indices_.size() && indices_[b] >= 0; ++b) {
    kept_.rows.push_back(indices_[b]);
    const auto from = answers.begin() + static_cast<std::ptrdiff_t>(b * outputs);
    kept_.answers.insert(kept_.answers.end(), from, from + static_cast<std::ptrdiff_t>(outputs));
  }
}

void average_members(const model::EncoderConfig& config, std::span<const float> logits,
                     int64_t rows, float* out) {
  const int64_t outputs = config.outputs;
  const float share = 1.0F / static_cast<float>(config.answers());
  for (int64_t row = 0; row < rows; ++row) {
    float* answer = out + row * outputs;
    std::fill(answer, answer + outputs, 0.0F);
    for (int64_t k = 0; k < config.answers(); ++k) {
      const float* x = logits.data() + (row * config.answers() + k) * outputs;
      if (config.answer == model::Answer::kValue) {
        answer[0] += share * x[0];
        continue;
      }
      const float highest = *std::max_element(x, x + outputs);
      float sum = 0;
      for (int64_t i = 0; i < outputs; ++i) sum += std::exp(x[i] - highest);
      for (int64_t i = 0; i < outputs; ++i) answer[i] += share * std::exp(x[i] - highest) / sum;
    }
  }
}

}  // namespace quern::task
