#include "quern/base/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace quern {
namespace {

class SilentReporter final : public Reporter {
 public:
  void note(std::string_view) override {}
  void progress(std::string_view, bool) override {}
};

// Three significant digits at most, none after the point for whole units.
std::string scaled(double value, const std::array<const char*, 6>& units) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  size_t power = 0;
  // 999.95 would print as "1000.0 k".
  while (std::abs(value) >= (power == 0 ? 999.5 : 999.95) && power + 1 < units.size()) {
    value /= 1000;
    ++power;
  }
  return fmt::format("{:.{}f}{}", value, power == 0 ? 0 : 1, units[power]);
}

}  // namespace

Reporter& silent_reporter() {
  static SilentReporter reporter;
  return reporter;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds)) return "unknown";
  if (seconds < 0) seconds = 0;
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const double whole = std::round(seconds);
  const auto part = [](double value) { return std::floor(value + 0.5); };
  if (whole < 3600) return fmt::format("{} min {} s", std::floor(whole / 60), std::fmod(whole, 60));
  const double minutes = part(seconds / 60);
  if (minutes < 1440) {
    return fmt::format("{} h {} min", std::floor(minutes / 60), std::fmod(minutes, 60));
  }
  const double hours = part(seconds / 3600);
  return fmt::format("{} d {} h", std::floor(hours / 24), std::fmod(hours, 24));
}

std::string format_bytes(double bytes) {
  return scaled(bytes, {" B", " kB", " MB", " GB", " TB", " PB"});
}

std::string format_count(double count) { return scaled(count, {"", " k", " M", " G", " T", " P"}); }

double Estimate::seconds_passed() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

double Estimate::seconds_left(double done) const {
  if (done >= total_) return 0;
  if (done <= 0) return std::numeric_limits<double>::infinity();
  return seconds_passed() * (total_ - done) / done;
}

}  // namespace quern
