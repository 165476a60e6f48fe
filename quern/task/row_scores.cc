#include "quern/task/row_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "quern/features/word_ngrams.h"

namespace quern::task {
namespace {

constexpr int64_t kWordBuckets = 1 << 20;
constexpr size_t kMostWords = 1 << 16;

/// Features of the linear baseline: each number's place, scaled to [0, 1], and a flag where it is
/// missing; one-hot categories; pictures as at most 14 × 14 means of blocks; tf-idf of word 1- and
/// 2-grams, unit length (Salton & Buckley 1988).
class BaselineFeatures {
 public:
  BaselineFeatures(const run::RowPipeline& pipeline, const features::EncodedRows& train)
      : pipeline_(pipeline) {
    width_ = 2 * pipeline.columns.numbers().size();
    for (const auto& feature : pipeline.columns.categories()) {
      category_begins_.push_back(width_);
      width_ += static_cast<size_t>(feature.size());
    }
    const features::PictureFeature& picture = pipeline.columns.picture();
    if (picture.present()) {
      block_ = std::max<int64_t>(1, (std::max(picture.height, picture.width) + 13) / 14);
      picture_begin_ = width_;
      width_ +=
          static_cast<size_t>(blocks(picture.height) * blocks(picture.width) * picture.channels);
    }
    for (const std::string& text : train.texts) {
      auto grams = grams_of(text);
      std::sort(grams.begin(), grams.end());
      grams.erase(std::unique(grams.begin(), grams.end()), grams.end());
      for (const int32_t gram : grams) ++documents_[gram].count;
    }
    // Words of one text alone say nothing of others.
    for (auto& [gram, word] : documents_) {
      if (word.count < 2) continue;
      word.column = static_cast<int64_t>(width_++);
      word.weight = 1 + std::log((1 + static_cast<double>(train.texts.size())) /
                                 (1 + static_cast<double>(word.count)));
    }
  }

  /// The first `most` rows.
  metrics::SparseRows rows(const features::EncodedRows& encoded, int64_t most = INT64_MAX) const {
    metrics::SparseRows rows;
    rows.width = width_;
    const auto numbers = pipeline_.columns.numbers();
    for (int64_t row = 0; row < std::min(encoded.rows, most); ++row) {
      for (size_t i = 0; i < numbers.size(); ++i) {
        const float place = encoded.places[static_cast<size_t>(row) * numbers.size() + i];
        const auto column = static_cast<uint32_t>(2 * i);
        if (std::isnan(place)) {
          rows.add(column + 1, 1);
        } else {
          rows.add(column, place / static_cast<float>(numbers[i].pieces()));
        }
      }
      for (size_t i = 0; i < category_begins_.size(); ++i) {
        const auto id = static_cast<size_t>(
            encoded.category_ids[static_cast<size_t>(row) * category_begins_.size() + i]);
        rows.add(static_cast<uint32_t>(category_begins_[i] + id), 1);
      }
      if (block_ > 0) add_pixels(rows, encoded, row);
      if (!encoded.texts.empty()) add_words(rows, encoded.texts[static_cast<size_t>(row)]);
      rows.end_row();
    }
    return rows;
  }

 private:
  struct Word {
    size_t count = 0;
    int64_t column = -1;
    double weight = 0;
  };

  static std::vector<int32_t> grams_of(const std::string& text) {
    return features::word_ngrams(text, 2, kWordBuckets, kMostWords);
  }

  int64_t blocks(int64_t side) const { return (side + block_ - 1) / block_; }

  void add_pixels(metrics::SparseRows& rows, const features::EncodedRows& encoded,
                  int64_t row) const {
    const features::PictureFeature& f = encoded.picture;
    const uint8_t* picture = encoded.pixels.data() + row * f.pixels();
    auto column = static_cast<uint32_t>(picture_begin_);
    for (int64_t top = 0; top < f.height; top += block_) {
      for (int64_t left = 0; left < f.width; left += block_) {
        const int64_t bottom = std::min(top + block_, f.height);
        const int64_t right = std::min(left + block_, f.width);
        for (int64_t c = 0; c < f.channels; ++c) {
          double sum = 0;
          for (int64_t y = top; y < bottom; ++y)
            for (int64_t x = left; x < right; ++x)
              sum += picture[(y * f.width + x) * f.channels + c];
          const double mean = sum / static_cast<double>((bottom - top) * (right - left)) / 255;
          rows.add(column++, static_cast<float>(mean));
        }
      }
    }
  }

  void add_words(metrics::SparseRows& rows, const std::string& text) const {
    std::vector<int32_t> grams = grams_of(text);
    std::sort(grams.begin(), grams.end());
    std::vector<std::pair<uint32_t, double>> terms;
    double squares = 0;
    for (size_t i = 0; i < grams.size();) {
      const size_t begin = i;
      while (i < grams.size() && grams[i] == grams[begin]) ++i;
      const auto found = documents_.find(grams[begin]);
      if (found == documents_.end() || found->second.column < 0) continue;
      const double value = static_cast<double>(i - begin) * found->second.weight;
      terms.emplace_back(static_cast<uint32_t>(found->second.column), value);
      squares += value * value;
    }
    const double norm = squares > 0 ? std::sqrt(squares) : 1;
    for (const auto& [column, value] : terms) rows.add(column, static_cast<float>(value / norm));
  }

  const run::RowPipeline& pipeline_;
  size_t width_ = 0;
  int64_t block_ = 0;  // pixels of a block's side; 0: no pictures
  size_t picture_begin_ = 0;
  std::vector<size_t> category_begins_;
  std::unordered_map<int32_t, Word> documents_;
};

size_t outputs_of(const run::RowPipeline& pipeline) {
  return pipeline.task == "classify" ? pipeline.classes.size() : 1;
}

/// Shares of the classes, or the mean (0, standardised), for every row.
std::vector<float> constant_answers(const run::RowPipeline& pipeline, const RowTargets& targets,
                                    int64_t rows) {
  const size_t outputs = outputs_of(pipeline);
  std::vector<float> shares(outputs, 0.0F);
  for (const int32_t label : targets.classes)
    shares[static_cast<size_t>(label)] += 1.0F / static_cast<float>(targets.classes.size());
  std::vector<float> answers;
  for (int64_t row = 0; row < rows; ++row)
    answers.insert(answers.end(), shares.begin(), shares.end());
  return answers;
}

/// Squared distance: places scaled to [0, 1], missing apart from all by 1; categories 0 or 1.
float distance(const run::RowPipeline& pipeline, const features::EncodedRows& a, size_t row_a,
               const features::EncodedRows& b, size_t row_b) {
  const auto numbers = pipeline.columns.numbers();
  const size_t categories = pipeline.columns.categories().size();
  float sum = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float x = a.places[row_a * numbers.size() + i];
    const float y = b.places[row_b * numbers.size() + i];
    if (std::isnan(x) != std::isnan(y)) {
      sum += 1;
    } else if (!std::isnan(x)) {
      const float difference = (x - y) / static_cast<float>(numbers[i].pieces());
      sum += difference * difference;
    }
  }
  for (size_t i = 0; i < categories; ++i)
    sum += a.category_ids[row_a * categories + i] == b.category_ids[row_b * categories + i] ? 0.0F
                                                                                            : 0.5F;
  return sum;
}

std::vector<float> nearest_answers(const run::RowPipeline& pipeline,
                                   const features::EncodedRows& train, const RowTargets& targets,
                                   const features::EncodedRows& validation) {
  constexpr size_t kNeighbours = 15;
  constexpr size_t kMostRows = 5000;
  const auto rows = static_cast<size_t>(train.rows);
  const size_t stride = (rows + kMostRows - 1) / kMostRows;
  const size_t outputs = outputs_of(pipeline);
  std::vector<float> answers(static_cast<size_t>(validation.rows) * outputs, 0.0F);
  std::vector<std::pair<float, size_t>> near;
  for (size_t row = 0; row < static_cast<size_t>(validation.rows); ++row) {
    near.clear();
    for (size_t other = 0; other < rows; other += stride)
      near.emplace_back(distance(pipeline, validation, row, train, other), other);
    const size_t count = std::min(kNeighbours, near.size());
    std::partial_sort(near.begin(), near.begin() + static_cast<ptrdiff_t>(count), near.end());
    for (size_t i = 0; i < count; ++i) {
      const float share = 1.0F / static_cast<float>(count);
      if (pipeline.task == "classify") {
        answers[row * outputs + static_cast<size_t>(targets.classes[near[i].second])] += share;
      } else {
        answers[row] += share * targets.values[near[i].second];
      }
    }
  }
  return answers;
}

}  // namespace

metrics::Classified classified(const run::RowPipeline& pipeline, const RowAnswers& rows) {
  return {rows.answers, rows.targets.classes, pipeline.classes.size(), pipeline.positive,
          pipeline.threshold};
}

OwnUnits own_units(const run::RowPipeline& pipeline, const RowAnswers& rows) {
  OwnUnits units;
  const auto convert = [&](float value) {
    return pipeline.mean + pipeline.deviation * static_cast<double>(value);
  };
  std::transform(rows.answers.begin(), rows.answers.end(), std::back_inserter(units.predictions),
                 convert);
  std::transform(rows.targets.values.begin(), rows.targets.values.end(),
                 std::back_inserter(units.targets), convert);
  return units;
}

std::vector<metrics::Score> score_rows(const run::RowPipeline& pipeline, const RowAnswers& rows,
                                       uint64_t seed) {
  if (pipeline.task == "classify") return metrics::score_classes(classified(pipeline, rows), seed);
  const OwnUnits units = own_units(pipeline, rows);
  return metrics::score_values(units.view(), seed);
}

MainMetric main_metric(const run::RowPipeline& pipeline) {
  if (pipeline.task == "regress") return {"rmse", false};
  return {pipeline.classes.size() == 2 ? "auc" : "accuracy", true};
}

std::vector<Baseline> row_baselines(const run::RowPipeline& pipeline,
                                    const features::EncodedRows& train, const RowTargets& targets,
                                    const features::EncodedRows& validation) {
  std::vector<Baseline> baselines;
  const bool classify = pipeline.task == "classify";
  baselines.push_back(
      {classify ? "majority class" : "mean", constant_answers(pipeline, targets, validation.rows)});
  const BaselineFeatures features(pipeline, train);
  // Pixels are dense: ten thousand pictures say what a linear model can learn from them.
  constexpr int64_t kMostPictures = 10'000;
  const bool pictures = !train.pixels.empty();
  const metrics::SparseRows rows = features.rows(train, pictures ? kMostPictures : train.rows);
  const size_t used = rows.rows();
  const auto linear =
      classify ? metrics::LinearBaseline::classifier(rows, std::span(targets.classes).first(used),
                                                     pipeline.classes.size())
               : metrics::LinearBaseline::regression(rows, std::span(targets.values).first(used));
  const char* name =
      !train.texts.empty()
          ? (classify ? "logistic regression on words" : "linear regression on words")
      : pictures ? (classify ? "logistic regression on pixels" : "linear regression on pixels")
      : classify ? "logistic regression"
                 : "linear regression";
  baselines.push_back({name, linear.predict(features.rows(validation))});
  if (train.numbers + train.categories > 0) {
    baselines.push_back({"15 nearest rows", nearest_answers(pipeline, train, targets, validation)});
  }
  return baselines;
}

}  // namespace quern::task
