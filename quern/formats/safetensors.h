#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"
#include "quern/tensor/dtype.h"
#include "quern/tensor/shape.h"

namespace quern::formats {

/// One tensor of a safetensors file: where its little-endian bytes lie, from the file's start.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // by offset
  std::map<std::string, std::string> metadata;
};

/// Reads the header of a whole file and holds it against the file's size: the tensors must fill the
/// data section without gap or overlap, each exactly as large as its shape and dtype say. Throws
/// FormatError naming `where` and the tensor. Format:
/// https://huggingface.co/docs/safetensors/index#format
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view where);

/// A safetensors file, mapped; tensors are read in place.
class SafetensorsFile {
 public:
  /// Throws IoError or FormatError.
  explicit SafetensorsFile(const fs::path& path);

  const fs::path& path() const { return path_; }
  std::span<const TensorEntry> tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// Null when there is none of this name.
  const TensorEntry* find(std::string_view name) const;
  /// Throws FormatError naming the file and the tensor when there is none.
  const TensorEntry& at(std::string_view name) const;
  /// The bytes in the file. Not aligned where the file's writer did not align them: copy, do not
  /// cast.
  std::span<const std::byte> data(const TensorEntry& entry) const;

 private:
  fs::path path_;
  MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

/// A tensor to be written; `data` holds exactly shape × dtype bytes.
struct TensorData {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> data;
};

/// Writes atomically. The same tensors and metadata give the same bytes, in whatever order they
/// come: data is ordered by falling element size (so that each is aligned), then by name. Throws
/// IoError, or FormatError for a name that is used twice, is not UTF-8, or data of a wrong size.
void write_safetensors(const fs::path& path, std::span<const TensorData> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace quern::formats
