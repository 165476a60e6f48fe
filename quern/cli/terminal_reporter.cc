#include "quern/cli/terminal_reporter.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "quern/base/text_encoding.h"

namespace quern::cli {
namespace {

size_t terminal_columns(std::FILE* stream) {
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

/// The longest prefix that fits, counting East Asian characters as two columns; a line that wraps
/// could not be rewritten.
std::string_view fit(std::string_view line, size_t columns) {
  size_t used = 0;
  size_t length = 0;
  while (length < line.size()) {
    const CodePoint point = decode_utf8(line.substr(length));
    used += point.value >= 0x2E80 && point.value != CodePoint::kInvalid ? 2 : 1;
    if (used >= columns) break;
    length += point.length;
  }
  return line.substr(0, length);
}

}  // namespace

void TerminalReporter::clear() {
  if (!open_) return;
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  open_ = false;
}

void TerminalReporter::note(std::string_view line) {
  clear();
  std::fwrite(line.data(), 1, line.size(), stream_);
  std::fputc('\n', stream_);
  std::fflush(stream_);
}

void TerminalReporter::progress(std::string_view line, bool last) {
  const auto now = std::chrono::steady_clock::now();
  const auto interval = std::chrono::milliseconds(terminal_ ? 100 : 10000);
  if (!last && shown_.time_since_epoch().count() != 0 && now - shown_ < interval) return;
  shown_ = now;
  if (!terminal_) {
    note(line);
    return;
  }
  const std::string_view visible = fit(line, terminal_columns(stream_));
  std::fputc('\r', stream_);
  std::fwrite(visible.data(), 1, visible.size(), stream_);
  std::fputs("\x1b[K", stream_);
  open_ = true;
  if (last) end_line();
  std::fflush(stream_);
}

void TerminalReporter::end_line() {
  if (open_) std::fputc('\n', stream_);
  open_ = false;
  std::fflush(stream_);
}

}  // namespace quern::cli
