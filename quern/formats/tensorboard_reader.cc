#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "quern/base/bytes.h"
#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/formats/tensorboard.h"
#include "quern/formats/tensorboard_events.pb.h"
#include "quern/formats/tensorboard_types.h"

namespace quern::formats {
namespace {

template <typename T>
void read_content(const std::string& content, std::vector<double>& out) {
  for (size_t at = 0; at + sizeof(T) <= content.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, content.data() + at, sizeof(T));
    out.push_back(static_cast<double>(value));
  }
}

void read_tensor(const proto::Tensor& tensor, EventValue& value, const std::string& what) {
  uint64_t elements = 1;
  for (const auto& dim : tensor.shape().dim()) {
    if (dim.size() < 0) throw FormatError(what + ": negative extent");
    elements = checked_multiply(elements, static_cast<uint64_t>(dim.size()), what);
    value.shape.push_back(dim.size());
  }
  if (tensor.dtype() == kFloat) {
    read_content<float>(tensor.tensor_content(), value.numbers);
    value.numbers.insert(value.numbers.end(), tensor.float_val().begin(), tensor.float_val().end());
  } else if (tensor.dtype() == kDouble) {
    read_content<double>(tensor.tensor_content(), value.numbers);
    value.numbers.insert(value.numbers.end(), tensor.double_val().begin(),
                         tensor.double_val().end());
  } else if (tensor.dtype() == kString) {
    value.texts.assign(tensor.string_val().begin(), tensor.string_val().end());
  } else {
    return;  // a kind of another program
  }
  if (value.numbers.size() + value.texts.size() != elements) {
    throw FormatError(what + ": the tensor does not hold what its shape says");
  }
}

}  // namespace

EventFile read_events(std::string_view bytes, std::string_view where) {
  EventFile file;
  ByteReader reader(bytes, where);
  while (reader.remaining() > 0) {
    const std::string what =
        std::string(where) + ": record at byte " + std::to_string(reader.offset());
    if (reader.remaining() < 12) {
      file.truncated = true;
      break;
    }
    const std::string_view length_bytes = bytes.substr(reader.offset(), 8);
    const uint64_t length = reader.u64();
    if (reader.u32() != masked_crc32c(length_bytes)) {
      throw FormatError(what + ": the checksum of its length does not fit",
                        "this is not a TensorBoard event file, or it is damaged");
    }
    if (reader.remaining() < 4 || reader.remaining() - 4 < length) {
      file.truncated = true;
      break;
    }
    const std::string_view data = reader.text(length);
    if (reader.u32() != masked_crc32c(data)) {
      throw FormatError(what + ": its checksum does not fit", "the file is damaged");
    }
    proto::Event message;
    if (length > INT32_MAX || !message.ParseFromArray(data.data(), static_cast<int>(length))) {
      throw FormatError(what + ": not an event");
    }
    Event event;
    event.wall_time = message.wall_time();
    event.step = message.step();
    event.file_version = message.file_version();
    event.session_start = message.session_log().status() == 1;
    for (const auto& read : message.summary().value()) {
      EventValue value;
      value.tag = read.tag();
      value.plugin = read.metadata().plugin_data().plugin_name();
      value.plugin_content = read.metadata().plugin_data().content();
      if (read.value_case() == proto::Summary::Value::kSimpleValue)
        value.scalar = read.simple_value();
      if (read.has_tensor()) read_tensor(read.tensor(), value, what);
      event.values.push_back(std::move(value));
    }
    file.events.push_back(std::move(event));
  }
  return file;
}

int64_t next_step(const fs::path& folder, std::string_view tag) {
  std::vector<fs::path> files;
  std::error_code ignored;  // no folder, no steps
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().filename().string().starts_with(kEventFilePrefix))
      files.push_back(entry.path());
  // Names rise with time, and steps of a tag from file to file: the newest that has it tells.
  std::ranges::sort(files, std::greater<>());
  for (const fs::path& path : files) {
    int64_t next = 0;
    try {
      for (const Event& event : read_events(read_file(path), path.filename().string()).events) {
        const auto has_tag = [&](const EventValue& value) { return value.tag == tag; };
        if (std::ranges::any_of(event.values, has_tag)) next = std::max(next, event.step + 1);
      }
    } catch (const FormatError&) {  // TensorBoard passes over what it cannot read, too
      continue;
    }
    if (next > 0) return next;
  }
  return 0;
}

}  // namespace quern::formats
