#include "quern/train/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/base/progress.h"

namespace quern::train {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

uint64_t first_number(std::string_view text) {
  const size_t begin = text.find_first_of("0123456789");
  uint64_t value = 0;
  if (begin == std::string_view::npos) return kUnknown;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  return error == std::errc() ? value : kUnknown;
}

std::string read_or_empty(const char* path) {
  try {
    return read_file(path);
  } catch (const Error&) {
    return {};
  }
}

uint64_t available_by_kernel() {
  const std::string text = read_or_empty("/proc/meminfo");
  const size_t at = text.find("MemAvailable:");
  if (at == std::string::npos) return kUnknown;
  const uint64_t kib = first_number(std::string_view(text).substr(at));
  return kib == kUnknown ? kUnknown : kib * 1024;
}

uint64_t left_in_group(const char* limit_path, const char* usage_path) {
  const std::string limit_text = read_or_empty(limit_path);
  const std::string usage_text = read_or_empty(usage_path);
  const uint64_t limit = first_number(limit_text);
  const uint64_t usage = first_number(usage_text);
  if (limit == kUnknown || usage == kUnknown) return kUnknown;
  return limit > usage ? limit - usage : 0;
}

}  // namespace

uint64_t available_memory() {
  const uint64_t least =
      std::min({available_by_kernel(),
                left_in_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
                left_in_group("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                              "/sys/fs/cgroup/memory/memory.usage_in_bytes")});
  return least == kUnknown ? 0 : least;
}

uint64_t memory_there(uint64_t limit, int sharing) {
  const uint64_t available = available_memory() / static_cast<uint64_t>(sharing);
  if (available == 0) return limit == 0 ? kUnknown : limit;
  return limit == 0 ? available : std::min(limit, available);
}

void require_memory(uint64_t need, uint64_t there, std::string_view size, const Beside& beside) {
  if (need <= there) return;
  const std::string_view smaller = size == "large" ? "base" : size == "base" ? "small" : "tiny";
  const std::string hint =
      size == "tiny" || size == "auto"
          ? std::string("try a smaller train.batch, model.context or model.width")
          : fmt::format("try --size {}, or a smaller train.batch", smaller);
  throw Error(
      "not_enough_memory",
      fmt::format("training needs {}{} even where backward makes activations again, {} are there",
                  format_bytes(static_cast<double>(need)),
                  beside.bytes == 0
                      ? ""
                      : fmt::format(", {} of it to score the model and its baselines,",
                                    format_bytes(static_cast<double>(beside.bytes))),
                  format_bytes(static_cast<double>(there))),
      beside.hint.empty() ? hint : fmt::format("{}; {}", beside.hint, hint));
}

}  // namespace quern::train
