#include "quern/formats/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "quern/base/bytes.h"
#include "quern/base/error.h"
#include "quern/base/text_encoding.h"
#include "quern/formats/json.h"

namespace quern::formats {
namespace {

using nlohmann::json;

// Of the reference implementation: more would only serve to exhaust the reader.
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr std::string_view kMetadata = "__metadata__";

std::optional<DType> dtype_of(std::string_view spelling) {
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kF16, DType::kBF16, DType::kI64,
                            DType::kI32, DType::kU32, DType::kU8, DType::kBool}) {
    if (name(dtype) == spelling) return dtype;
  }
  return std::nullopt;
}

uint64_t unsigned_of(const json& value, const std::string& what) {
  if (!value.is_number_unsigned()) throw FormatError(what + " is not a whole number");
  return value.get<uint64_t>();
}

TensorEntry parse_entry(const std::string& tensor, const json& info, uint64_t data_start,
                        std::string_view where) {
  const std::string what = std::string(where) + ": tensor \"" + tensor + "\"";
  if (!info.is_object() || info.size() != 3 || !info.contains("dtype") || !info.contains("shape") ||
      !info.contains("data_offsets")) {
    throw FormatError(what + " must have dtype, shape and data_offsets, and nothing else");
  }
  TensorEntry entry;
  entry.name = tensor;
  const json& dtype = info["dtype"];
  const auto known =
      dtype.is_string() ? dtype_of(dtype.get_ref<const std::string&>()) : std::nullopt;
  if (!known) throw FormatError(what + " has the unsupported dtype " + dtype.dump());
  entry.dtype = *known;

  const json& shape = info["shape"];
  if (!shape.is_array() || shape.size() > Shape::kMaxRank) {
    throw FormatError(what + ": the shape is not a list of at most " +
                      std::to_string(Shape::kMaxRank) + " extents");
  }
  uint64_t bytes = size_of(entry.dtype);
  for (const json& value : shape) {
    const uint64_t extent = unsigned_of(value, what + ": an extent");
    if (extent > uint64_t{INT64_MAX}) throw FormatError(what + ": an extent is too large");
    bytes = checked_multiply(bytes, extent, what);
    entry.shape.push_back(static_cast<int64_t>(extent));
  }

  const json& offsets = info["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) {
    throw FormatError(what + ": data_offsets is not a pair");
  }
  const uint64_t begin = unsigned_of(offsets[0], what + ": an offset");
  const uint64_t end = unsigned_of(offsets[1], what + ": an offset");
  if (end < begin || end - begin != bytes) {
    throw FormatError(what + ": shape and dtype need " + std::to_string(bytes) +
                      " bytes, the offsets " + std::to_string(begin) + " to " +
                      std::to_string(end) + " do not hold as many");
  }
  entry.offset = checked_add(data_start, begin, what);
  entry.bytes = bytes;
  return entry;
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view where) {
  ByteReader reader(file, where);
  const uint64_t length = reader.u64();
  if (length > kMaxHeader) {
    throw FormatError(std::string(where) + ": a header of " + std::to_string(length) +
                          " bytes is more than the format's 100 MB",
                      "this is not a safetensors file");
  }
  const std::string_view text = reader.text(length);
  if (!text.starts_with('{')) {
    throw FormatError(std::string(where) + ": the header does not start with {",
                      "this is not a safetensors file");
  }
  const json header = parse_json(text, where, {.bytes = kMaxHeader, .depth = 4});
  const uint64_t data_start = reader.offset();

  SafetensorsHeader result;
  for (const auto& [key, value] : header.items()) {
    if (key != kMetadata) {
      result.tensors.push_back(parse_entry(key, value, data_start, where));
      continue;
    }
    if (!value.is_object())
      throw FormatError(std::string(where) + ": __metadata__ is not an object");
    for (const auto& [name, text_value] : value.items()) {
      if (!text_value.is_string()) {
        throw FormatError(std::string(where) + ": __metadata__ \"" + name + "\" is not a string");
      }
      result.metadata.emplace(name, text_value.get<std::string>());
    }
  }
  // An empty tensor shares its offset with the one after it.
  std::sort(result.tensors.begin(), result.tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  uint64_t end = data_start;
  for (const TensorEntry& entry : result.tensors) {
    if (entry.offset != end) {
      throw FormatError(std::string(where) + ": tensor \"" + entry.name + "\" starts at byte " +
                        std::to_string(entry.offset) + ", the one before it ends at " +
                        std::to_string(end));
    }
    end = checked_add(entry.offset, entry.bytes, where);
  }
  if (end != file.size()) {
    throw FormatError(std::string(where) + ": the tensors end at byte " + std::to_string(end) +
                          ", the file at " + std::to_string(file.size()),
                      end > file.size() ? "the file is cut short; copy or save it again"
                                        : "the file has foreign bytes at its end");
  }
  return result;
}

SafetensorsFile::SafetensorsFile(const fs::path& path)
    : path_(path), file_(path), header_(parse_safetensors(file_.bytes(), path.string())) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) by_name_.emplace(header_.tensors[i].name, i);
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &header_.tensors[it->second];
}

const TensorEntry& SafetensorsFile::at(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  throw FormatError(path_.string() + ": there is no tensor \"" + std::string(name) + "\"",
                    "the weights do not belong to this configuration");
}

std::span<const std::byte> SafetensorsFile::data(const TensorEntry& entry) const {
  return file_.bytes().subspan(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.bytes));
}

void write_safetensors(const fs::path& path, std::span<const TensorData> tensors,
                       const std::map<std::string, std::string>& metadata) {
  static_assert(std::endian::native == std::endian::little, "tensors are written as they lie");
  std::vector<const TensorData*> order;
  for (const TensorData& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorData* a, const TensorData* b) {
    const size_t a_size = size_of(a->dtype);
    const size_t b_size = size_of(b->dtype);
    return a_size != b_size ? a_size > b_size : a->name < b->name;
  });

  const auto check_text = [&](const std::string& text) {
    if (find_invalid_utf8(text)) {
      throw FormatError(path.string() + ": a name or a metadata value is not UTF-8");
    }
  };
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) {
    check_text(key);
    check_text(value);
    header[std::string(kMetadata)][key] = value;
  }
  uint64_t offset = 0;
  std::map<std::string_view, int> names = {{kMetadata, 1}};
  for (const TensorData* tensor : order) {
    const std::string what = path.string() + ": tensor \"" + tensor->name + "\"";
    check_text(tensor->name);
    if (names[tensor->name]++ != 0) throw FormatError(what + " is named twice or is reserved");
    uint64_t bytes = size_of(tensor->dtype);
    for (const int64_t extent : tensor->shape.extents()) {
      if (extent < 0) throw FormatError(what + " has a negative extent");
      bytes = checked_multiply(bytes, static_cast<uint64_t>(extent), what);
    }
    if (bytes != tensor->data.size()) {
      throw FormatError(what + " of shape " + tensor->shape.to_string() + " needs " +
                        std::to_string(bytes) + " bytes, " + std::to_string(tensor->data.size()) +
                        " are given");
    }
    const uint64_t end = checked_add(offset, bytes, what);
    header[tensor->name] = {{"dtype", name(tensor->dtype)},
                            {"shape", std::vector<int64_t>(tensor->shape.extents().begin(),
                                                           tensor->shape.extents().end())},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }

  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxHeader)
    throw FormatError(path.string() + ": too many tensors for one file");
  const uint64_t length = text.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const TensorData* tensor : order) file.write(tensor->data);
  file.commit();
}

}  // namespace quern::formats
