#include "quern/train/row_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/features/tokenizer_training.h"
#include "quern/run/defaults.h"

namespace quern::train {

void RowData::read(std::span<const fs::path> paths) {
  task_ = task::make_table_task(paths, options_, reporter_);
  fit_pictures();
  rows_ = task_.pipeline.columns.encode(task_.table, task_.split.train, &pool_);
}

void RowData::fit_pictures() {
  features::ColumnEncoder& columns = task_.pipeline.columns;
  if (columns.image_column().empty()) return;
  reporter_.progress("looking at the pictures");
  const int64_t side =
      options_.is_auto("model.image_size") ? 0 : options_.integer("model.image_size");
  columns.set_picture(
      features::fit_pictures(task_.table, columns.image_column(), task_.split.train, side, &pool_));
  const features::PictureFeature& p = columns.picture();
  reporter_.note(fmt::format("pictures: {} × {} pixels, {}; override with model.image_size",
                             p.width, p.height, p.channels == 3 ? "colour" : "grey"));
}

void RowData::decide() {
  run::RowFacts facts;
  facts.rows = task_.split.train.size();
  facts.columns = rows_.numbers + rows_.categories;
  facts.text = !rows_.texts.empty();
  facts.picture_side = std::min(rows_.picture.height, rows_.picture.width);
  facts.classify = task_.pipeline.task == "classify";
  facts.folds = static_cast<int64_t>(folds());
  if (facts.text) {
    std::vector<size_t> lengths;
    for (const std::string& text : rows_.texts) lengths.push_back(text.size());
    std::sort(lengths.begin(), lengths.end());
    facts.bytes = lengths[lengths.size() * 19 / 20];
  }
  run::decide_rows(options_, facts);
  if (facts.picture_side > 0) note_augmentation();
  for (const auto& [key, flag] : std::initializer_list<std::pair<const char*, const char*>>{
           {"model.preset", "--preset"}, {"model.size", "--size"}, {"train.time", "--time"}}) {
    if (options_.is_explicit(key) || options_.text(key).empty()) continue;
    reporter_.note(fmt::format("{}: {} ({}; override with {})", key, options_.text(key),
                               options_.who(key), flag));
  }
}

void RowData::note_augmentation() {
  const auto rate = [&](const char* key) { return options_.number(key); };
  reporter_.note(fmt::format(
      "augmentation: {} ({}), RandAugment {} of 10, mixup {}, cutmix {}; override with "
      "--set regularise.augment=off|light|strong, .randaugment, .mixup, .cutmix",
      options_.text("regularise.augment"), options_.who("regularise.augment"),
      rate("regularise.randaugment"), rate("regularise.mixup"), rate("regularise.cutmix")));
}

uint32_t RowData::folds() const {
  const auto& of = task_.split.folds;
  return of.empty() ? 1 : *std::max_element(of.begin(), of.end()) + 1;
}

int64_t RowData::outputs() const {
  const run::RowPipeline& pipeline = task_.pipeline;
  return pipeline.task == "classify" ? static_cast<int64_t>(pipeline.classes.size()) : 1;
}

void RowData::divide() {
  rows_.append(task_.pipeline.columns.encode(task_.table, task_.split.validation, &pool_));
  const size_t train = task_.split.train.size();
  const size_t rows = known_rows();
  parts_.resize(folds());
  for (size_t row = 0; row < rows; ++row) {
    for (size_t fold = 0; fold < parts_.size(); ++fold) {
      const bool held = parts_.size() == 1 ? row >= train : task_.split.folds[row] == fold;
      (held ? parts_[fold].validation : parts_[fold].train).push_back(row);
    }
    if (parts_.size() > 1 || row >= train) validated_.push_back(row);
  }
  known_.targets = task_.weighted_targets(known_places(), options_);
  if (parts_.size() == 1) return;
  task_.pipeline.record.counts["validation.rows"] = rows;
  task_.pipeline.record.counts["folds"] = parts_.size();
}

task::RowTargets RowData::targets_of(std::span<const size_t> rows) const {
  task::RowTargets out;
  for (const size_t row : rows) {
    if (!known_.targets.classes.empty()) out.classes.push_back(known_.targets.classes[row]);
    if (!known_.targets.values.empty()) out.values.push_back(known_.targets.values[row]);
  }
  return out;
}

void RowData::make_tokenizer(const fs::path& known) {
  if (rows_.texts.empty()) return;
  if (!known.empty() && fs::exists(known)) {
    tokenizer_ = features::Tokenizer::load(known);
    return;
  }
  const std::string kind(options_.text("tokenizer.kind"));
  if (kind.ends_with(".json")) {
    tokenizer_ = features::Tokenizer::load(kind);
    return;
  }
  features::TokenizerTrainOptions train;
  train.kind = features::parse_tokenizer_kind(kind);
  train.vocabulary = static_cast<size_t>(options_.integer("tokenizer.vocabulary"));
  train.pattern = features::parse_split_pattern(options_.text("tokenizer.pattern"));
  features::TokenizerTrainer trainer(train);
  for (const std::string& text : rows_.texts) trainer.feed(text);
  tokenizer_ = trainer.finish();
}

model::EncoderConfig RowData::configure() const {
  model::EncoderConfig config = run::encoder_config(options_);
  config.copies = static_cast<int64_t>(parts_.size());
  const features::ColumnEncoder& columns = task_.pipeline.columns;
  config.numbers = static_cast<int64_t>(columns.numbers().size());
  config.number_bins = config.numbers > 0 ? columns.number_bins() : 0;
  for (const auto& feature : columns.categories()) config.categories.push_back(feature.size());
  if (tokenizer_) {
    config.trunk.vocabulary = static_cast<int64_t>(tokenizer_->vocabulary());
  } else {
    config.trunk.vocabulary = 0;
    config.ngram_buckets = config.ngram_bag = 0;
  }
  const features::PictureFeature& picture = columns.picture();
  if (picture.present()) {
    config.image.height = picture.height;
    config.image.width = picture.width;
    config.image.channels = picture.channels;
  } else {
    config.image = {};
  }
  const bool classify = task_.pipeline.task == "classify";
  config.mixes = picture_noise().mixes();
  config.answer = classify ? model::Answer::kClass : model::Answer::kValue;
  config.outputs = outputs();
  config.validate();
  return config;
}

void RowData::score_baselines() {
  reporter_.progress("scoring the baselines");
  std::vector<task::Baseline> all;
  for (const Part& part : parts_) {
    std::vector<task::Baseline> here =
        task::row_baselines(task_.pipeline, rows_.select(part.train), targets_of(part.train),
                            rows_.select(part.validation));
    if (all.empty()) {
      for (const task::Baseline& one : here)
        all.push_back(
            {one.name, std::vector<float>(known_rows() * static_cast<size_t>(outputs()))});
    }
    for (size_t i = 0; i < all.size(); ++i)
      scatter(here[i].answers, part.validation, all[i].answers);
  }
  for (const task::Baseline& baseline : all) {
    baselines_.push_back(
        {baseline.name, task::score_rows(task_.pipeline, gather(baseline.answers), seed())});
  }
}

void RowData::scatter(const std::vector<float>& answers, std::span<const size_t> rows,
                      std::vector<float>& all) const {
  const auto width = static_cast<ptrdiff_t>(outputs());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(answers.begin() + static_cast<ptrdiff_t>(i) * width, width,
                all.begin() + static_cast<ptrdiff_t>(rows[i]) * width);
  }
}

task::RowAnswers RowData::gather(const std::vector<float>& all) const {
  const auto width = static_cast<ptrdiff_t>(outputs());
  task::RowAnswers out{{}, targets_of(validated_)};
  for (const size_t row : validated_) {
    const auto at = all.begin() + static_cast<ptrdiff_t>(row) * width;
    out.answers.insert(out.answers.end(), at, at + width);
  }
  return out;
}

std::vector<size_t> RowData::known_places() const {
  std::vector<size_t> places = task_.split.train;
  places.insert(places.end(), task_.split.validation.begin(), task_.split.validation.end());
  return places;
}

std::vector<size_t> RowData::validated_places() const {
  const std::vector<size_t> known = known_places();
  std::vector<size_t> places;
  for (const size_t row : validated_) places.push_back(known[row]);
  return places;
}

void RowData::fit_linear() {
  reporter_.progress("fitting the linear model that the answer starts from");
  uint32_t count = folds();
  std::vector<uint32_t> fold_of = task_.split.folds;
  if (fold_of.empty()) {
    count = 5;
    // So many rows fix a linear model; the others are scored as new ones are.
    constexpr size_t kMostLearnt = 200'000;
    const size_t train = task_.split.train.size();
    const size_t stride = (train + kMostLearnt - 1) / kMostLearnt;
    std::vector<size_t> learnt;
    for (size_t i = 0; i < train; i += stride) learnt.push_back(task_.split.train[i]);
    const auto dealt =
        data::fold_of_rows(task_.table, learnt, task_.target, task_.pipeline.task == "classify",
                           count, seed(), data::beside_the_point(task_.facts));
    fold_of.assign(known_rows(), count);
    for (size_t i = 0; i < dealt.size(); ++i) fold_of[i * stride] = dealt[i];
  }
  linear_ = task::fit_linear_start(task_.pipeline, rows_, known_.targets, fold_of, count, pool_,
                                   masked_share() > 0);
  reporter_.note(
      fmt::format("the answer starts from a linear model's: {}; "
                  "override with model.linear",
                  linear_.how));
}

double RowData::masked_share() const { return options_.number("regularise.masked_inputs"); }

void RowData::prepare(const model::EncoderConfig& config) {
  if (masked_share() > 0) {
    const task::RowMasker::Fitted fitted{&task_.pipeline.columns, tokenizer_.get(),
                                         config.linear ? &linear_ : nullptr};
    masker_ =
        std::make_unique<task::RowMasker>(config, fitted, rows_.texts, masked_share(), seed());
  }
  known_.inputs =
      task::make_row_inputs(std::move(rows_), config, tokenizer_.get(), std::move(linear_.scores));
}

task::PictureNoise RowData::picture_noise() const {
  task::PictureNoise noise =
      task::picture_noise(options_.text("regularise.augment"), task_.pipeline.columns.picture());
  if (!task_.pipeline.columns.picture().present()) return noise;
  noise.strength = options_.number("regularise.randaugment");
  if (task_.pipeline.task != "classify") return noise;
  noise.cutmix = options_.number("regularise.cutmix");
  noise.mixup = options_.number("regularise.mixup");
  return noise;
}

task::RowNoise RowData::noise() const {
  task::RowNoise noise;
  noise.column_dropout = options_.number("regularise.column_dropout");
  noise.token_dropout = options_.number("regularise.token_dropout");
  noise.picture = picture_noise();
  noise.masker = masker_.get();
  noise.seed = seed();
  return noise;
}

}  // namespace quern::train
