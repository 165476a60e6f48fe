#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace quern {

/// Where notes and progress go. The command line passes one that writes to standard error (one
/// rewritten line on a terminal, plain lines elsewhere); tests and the server pass their own. The
/// library itself never prints.
class Reporter {
 public:
  virtual ~Reporter() = default;
  /// A lasting line: an inference with its reason, a verdict, a warning.
  virtual void note(std::string_view line) = 0;
  /// The present state of long work; replaces the previous one on a terminal. `last` ends the line.
  virtual void progress(std::string_view line, bool last = false) = 0;
};

/// Drops everything.
Reporter& silent_reporter();

/// "3.2 s", "4 min 10 s", "2 h 5 min".
std::string format_duration(double seconds);
/// "1.5 GB" (decimal units), "12.3 M" for counts.
std::string format_bytes(double bytes);
std::string format_count(double count);

/// Estimates the time left from work done and time passed.
class Estimate {
 public:
  explicit Estimate(double total) : total_(total), start_(std::chrono::steady_clock::now()) {}
  double seconds_left(double done) const;
  double seconds_passed() const;

 private:
  double total_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace quern
