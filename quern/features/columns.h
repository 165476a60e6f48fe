#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quern/data/column_types.h"
#include "quern/data/table.h"
#include "quern/features/pictures.h"

namespace quern::features {

/// One number that a column gives: itself, or a part of a date.
enum class NumberSource : uint8_t { kValue, kYear, kMonth, kDay, kWeekday, kHour, kElapsedDays };

/// A number as a place among knots: quantiles of the training rows (piecewise-linear encoding,
/// Gorishniy et al. 2022, "On Embeddings for Numerical Features", section 3.1).
struct NumberFeature {
  std::string column;
  NumberSource source = NumberSource::kValue;
  data::DateStyle date_style;
  std::vector<double> knots;       // rising; one piece between each two
  double mean = 0, deviation = 1;  // of the training rows
  bool missing = false;            // whether some training row lacks it; else the mean stands in

  int64_t pieces() const { return static_cast<int64_t>(knots.size()) - 1; }
  /// In [0, pieces]: the knot below plus the way to the next; NaN where the value is missing.
  float place(double value) const;
  /// The value at a place, by mean and deviation; beyond the outer knots that of the knot.
  double standardised(float place) const;
};

/// A category column: the values that training rows hold often enough; 0 stands for all others.
struct CategoryFeature {
  std::string column;
  std::vector<std::string> values;  // of ids 1, 2, …; a missing value is "" where training saw any

  int32_t id(std::string_view value) const;
  int64_t size() const { return static_cast<int64_t>(values.size()) + 1; }
  /// Builds the index; after `values` is filled.
  void index();

 private:
  std::unordered_map<std::string, int32_t> ids_;
};

/// Rows as the model takes them. Texts and pictures are kept apart by who reads them.
struct EncodedRows {
  int64_t rows = 0, numbers = 0, categories = 0;
  std::vector<float> places;          // (rows, numbers), NaN: missing
  std::vector<int32_t> category_ids;  // (rows, categories)
  std::vector<std::string> texts;     // (rows) where there are text columns: joined by a line end
  PictureFeature picture;             // where there is a picture column
  Pixels pixels;                      // (rows, height, width, channels) of it

  /// These rows alone, in this order.
  EncodedRows select(std::span<const size_t> indices) const;
  /// Rows of the same encoder below these.
  void append(const EncodedRows& more);

  /// (height, width, channels) of one row, where there is a picture column.
  std::span<const uint8_t> picture_of(size_t row) const {
    const auto size = static_cast<size_t>(picture.pixels());
    return std::span(pixels).subspan(row * size, size);
  }
};

/// What turns a row of a table into model input: fitted on training rows alone, saved with the
/// model, the same at prediction.
class ColumnEncoder {
 public:
  /// Columns of the types number, category, date, text and image become features; the target and
  /// the rest do not. `rows`: the training rows.
  static ColumnEncoder fit(const data::Table& table, std::span<const data::ColumnFacts> facts,
                           std::string_view target, std::span<const size_t> rows,
                           int64_t most_pieces = 48);

  /// Throws Error("missing_column") naming those that the table lacks.
  /// The pool's threads decode pictures; null: this one.
  EncodedRows encode(const data::Table& table, std::span<const size_t> rows,
                     ThreadPool* pool = nullptr) const;

  std::span<const NumberFeature> numbers() const { return numbers_; }
  std::span<const CategoryFeature> categories() const { return categories_; }
  std::span<const std::string> text_columns() const { return texts_; }
  const std::string& image_column() const { return image_; }  // empty: none
  /// How that column's pictures are taken; set after fit and before encode.
  const PictureFeature& picture() const { return picture_; }
  void set_picture(PictureFeature picture) { picture_ = std::move(picture); }
  /// Columns of the table that the model reads.
  std::vector<std::string> columns() const;
  /// Inputs of each number: pieces of the longest, and one for "missing".
  int64_t number_bins() const;

  /// Writes one number's code: 1 for pieces passed, the fraction of the one it is in, then 0; the
  /// last input is 1 where it is missing. `out` holds number_bins() values.
  static void write_code(float place, int64_t bins, float* out);

  nlohmann::ordered_json to_json() const;
  /// Throws FormatError.
  static ColumnEncoder from_json(const nlohmann::json& json, std::string_view where);

 private:
  std::vector<NumberFeature> numbers_;
  std::vector<CategoryFeature> categories_;
  std::vector<std::string> texts_;
  std::string image_;
  PictureFeature picture_;
};

}  // namespace quern::features
