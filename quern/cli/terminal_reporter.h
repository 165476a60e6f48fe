#pragma once

#include <chrono>
#include <cstdio>
#include <string_view>

#include "quern/base/progress.h"

namespace quern::cli {

/// Notes and progress on standard error: one rewritten line on a terminal, at most ten times a
/// second; elsewhere plain lines, at most one every ten seconds.
class TerminalReporter : public Reporter {
 public:
  TerminalReporter(std::FILE* stream, bool terminal) : stream_(stream), terminal_(terminal) {}
  ~TerminalReporter() override { end_line(); }
  void note(std::string_view line) override;
  void progress(std::string_view line, bool last) override;
  /// Takes the progress line away, so that something else can stand there.
  void clear();
  /// Leaves the progress line standing and goes to a new one.
  void end_line();

 private:
  std::FILE* stream_;
  bool terminal_;
  bool open_ = false;  // a progress line without its line end
  std::chrono::steady_clock::time_point shown_{};
};

}  // namespace quern::cli
