#include "quern/data/parquet_reader.h"

#include <fmt/format.h>

#include "quern/base/error.h"
#include "quern/data/byte_source.h"

#ifdef QUERN_HAS_PARQUET
#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/result.h>
#include <arrow/scalar.h>
#include <parquet/arrow/reader.h>
#include <parquet/properties.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "quern/base/strings.h"
#include "quern/base/text_encoding.h"
#include "quern/data/number.h"
#endif

namespace quern::data {

#ifdef QUERN_HAS_PARQUET
namespace {

constexpr int64_t kBatchRows = 8192;

/// Throws what Arrow says, on one line.
[[noreturn]] void refuse(const fs::path& path, std::string what) {
  std::replace(what.begin(), what.end(), '\n', ' ');
  throw FormatError(fmt::format("'{}': Arrow says: {}", path.string(), trim(what)),
                    "give a whole Parquet file");
}

void require(const arrow::Status& status, const fs::path& path) {
  if (!status.ok()) refuse(path, status.message());
}

/// "2024-02-29", with a time where it is not midnight, with a fraction where there is one.
std::string date_text(int64_t ticks, int64_t ticks_a_second) {
  int64_t seconds = ticks / ticks_a_second;
  int64_t rest = ticks % ticks_a_second;
  if (rest < 0) {
    rest += ticks_a_second;
    --seconds;
  }
  const DateParts parts = date_parts(seconds);
  std::string text = fmt::format("{:04}-{:02}-{:02}", parts.year, parts.month, parts.day);
  const int64_t second = ((seconds % 60) + 60) % 60;
  if (parts.hour == 0 && parts.minute == 0 && second == 0 && rest == 0) return text;
  text += fmt::format(" {:02}:{:02}:{:02}", parts.hour, parts.minute, second);
  if (rest > 0) {
    const std::string fraction =
        fmt::format("{:.9f}", static_cast<double>(rest) / static_cast<double>(ticks_a_second));
    text += fraction.substr(1, fraction.find_last_not_of('0'));
  }
  return text;
}

int64_t ticks_a_second(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return 1;
    case arrow::TimeUnit::MILLI:
      return 1'000;
    case arrow::TimeUnit::MICRO:
      return 1'000'000;
    default:
      return 1'000'000'000;
  }
}

template <typename ArrayType>
std::string number_text(const arrow::Array& array, int64_t row) {
  return fmt::format("{}", static_cast<const ArrayType&>(array).Value(row));
}

/// Batches of a file into a sink.
class BatchReader {
 public:
  BatchReader(const fs::path& path, TableSink& sink) : path_(path), sink_(sink) {}

  void run(arrow::RecordBatchReader& batches) {
    std::vector<std::string> names;
    for (const auto& field : batches.schema()->fields()) names.push_back(field->name());
    const std::vector<size_t> to = sink_.declare(names);
    noted_.assign(names.size(), false);
    std::vector<std::string> fields(names.size());
    std::shared_ptr<arrow::RecordBatch> batch;
    uint64_t row = 0;
    for (;;) {
      require(batches.ReadNext(&batch), path_);
      if (batch == nullptr) return;
      require(batch->ValidateFull(), path_);
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        ++row;
        for (size_t c = 0; c < fields.size(); ++c)
          fields[c] = cell(*batch->column(static_cast<int>(c)), i, row, c, names[c]);
        sink_.add(fields, to, row);
        sink_.tick(row, 0);
      }
    }
  }

 private:
  std::string cell(const arrow::Array& array, int64_t i, uint64_t row, size_t column,
                   const std::string& name) {
    if (array.IsNull(i)) return {};
    switch (array.type_id()) {
      case arrow::Type::BOOL:
        return static_cast<const arrow::BooleanArray&>(array).Value(i) ? "true" : "false";
      case arrow::Type::INT32:
        return number_text<arrow::Int32Array>(array, i);
      case arrow::Type::INT64:
        return number_text<arrow::Int64Array>(array, i);
      case arrow::Type::FLOAT:
        return number_text<arrow::FloatArray>(array, i);
      case arrow::Type::DOUBLE:
        return number_text<arrow::DoubleArray>(array, i);
      case arrow::Type::STRING:
        return checked(static_cast<const arrow::StringArray&>(array).GetView(i), row, name);
      case arrow::Type::LARGE_STRING:
        return checked(static_cast<const arrow::LargeStringArray&>(array).GetView(i), row, name);
      case arrow::Type::DATE32:
        return date_text(static_cast<const arrow::Date32Array&>(array).Value(i) * int64_t{86'400},
                         1);
      case arrow::Type::DATE64:
        return date_text(static_cast<const arrow::Date64Array&>(array).Value(i), 1'000);
      case arrow::Type::TIMESTAMP: {
        const auto& type = static_cast<const arrow::TimestampType&>(*array.type());
        return date_text(static_cast<const arrow::TimestampArray&>(array).Value(i),
                         ticks_a_second(type.unit()));
      }
      case arrow::Type::DICTIONARY: {
        const auto& words = static_cast<const arrow::DictionaryArray&>(array);
        return cell(*words.dictionary(), words.GetValueIndex(i), row, column, name);
      }
      case arrow::Type::BINARY:
      case arrow::Type::LARGE_BINARY:
      case arrow::Type::FIXED_SIZE_BINARY:
        note_binary(column, name);
        return {};
      default: {
        const auto scalar = array.GetScalar(i);
        require(scalar.status(), path_);
        return checked((*scalar)->ToString(), row, name);
      }
    }
  }

  std::string checked(std::string_view text, uint64_t row, const std::string& name) const {
    if (find_invalid_utf8(text) || text.find('\0') != std::string_view::npos) {
      throw FormatError(
          fmt::format("'{}', row {}, column {}: bytes that are no text", path_.string(), row, name),
          "mend the value, or store it as binary");
    }
    return std::string(text);
  }

  void note_binary(size_t column, const std::string& name) {
    if (!noted_[column])
      sink_.note(
          fmt::format("'{}': column {} holds binary values: left empty", path_.string(), name));
    noted_[column] = true;
  }

  const fs::path& path_;
  TableSink& sink_;
  std::vector<bool> noted_;
};

void read_batches(const fs::path& path, TableSink& sink) {
  // A column chunk is read in pieces, so that memory does not follow the size of row groups.
  parquet::ReaderProperties bytes;
  bytes.enable_buffered_stream();
  parquet::ArrowReaderProperties rows;
  rows.set_batch_size(kBatchRows);
  parquet::arrow::FileReaderBuilder builder;
  require(builder.OpenFile(path.string(), false, bytes), path);
  builder.properties(rows);
  auto reader = builder.Build();
  require(reader.status(), path);
  auto batches = (*reader)->GetRecordBatchReader();
  require(batches.status(), path);
  BatchReader(path, sink).run(**batches);
}

}  // namespace

bool reads_parquet() { return true; }

void read_parquet(const fs::path& path, TableSink& sink) {
  open_bytes(path);  // that it is there, and a file
  sink.begin_file(path.string(), "row");
  try {
    read_batches(path, sink);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // A damaged file is met with more than ParquetException: Thrift's, and the standard library's.
    refuse(path, error.what());
  }
}

#else

bool reads_parquet() { return false; }

void read_parquet(const fs::path& path, TableSink&) {
  open_bytes(path);  // that it is there, and a file
  throw Error(
      "no_parquet",
      fmt::format("'{}': this build reads no Parquet, for want of Apache Arrow", path.string()),
      "install libarrow-dev and libparquet-dev (https://arrow.apache.org/install) and build "
      "again, or write the table as CSV");
}

#endif

}  // namespace quern::data
