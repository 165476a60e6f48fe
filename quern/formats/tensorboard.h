#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quern/base/file.h"

namespace quern::formats {

/// One bar of a histogram: how many values lie in [left, right) (the last: and at right).
struct HistogramBucket {
  double left = 0;
  double right = 0;
  double count = 0;
};

/// Equal-width buckets over the finite values' range, as TensorBoard's own summary makes them: one
/// bucket of width 1 where all values are the same, none where there is no finite value.
std::vector<HistogramBucket> histogram(std::span<const float> values, size_t buckets = 30);

struct HyperParameter {
  std::string name;
  std::variant<double, std::string, bool> value;
};

/// What a threshold on a probability decides of the rows: the counts of a precision-recall curve.
struct PrPoint {
  double true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;
};

enum class SessionEnd { kSuccess = 1, kFailure = 2 };

/// Writes one TensorBoard event file in a run's folder. Everything is flushed when a write comes 5
/// s after the last flush, in flush() and by the destructor. Keep one alive per folder; another
/// takes a later name, so that TensorBoard reads the files in order. All throw IoError.
class EventWriter {
 public:
  explicit EventWriter(const fs::path& folder);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  const fs::path& path() const;

  /// Says that training goes on from `step`: TensorBoard drops what an interrupted run wrote at and
  /// after it.
  void resume_at(int64_t step);
  void scalar(std::string_view tag, int64_t step, double value);
  void histogram(std::string_view tag, int64_t step, std::span<const HistogramBucket> buckets);
  /// Shown as Markdown. Malformed UTF-8 is replaced by U+FFFD.
  void text(std::string_view tag, int64_t step, std::string_view markdown);
  /// The page PR CURVES: thresholds rise from 0 to 1 in equal steps.
  void pr_curve(std::string_view tag, int64_t step, std::span<const PrPoint> points);
  /// The page IMAGES: PNG files of one size.
  void images(std::string_view tag, int64_t step, int64_t height, int64_t width,
              std::span<const std::string> pngs);
  /// The row of the HPARAMS page: the session's settings and the tags to show beside them. Once, at
  /// the start; end_session() closes it.
  void hyper_parameters(std::span<const HyperParameter> settings,
                        std::span<const std::string> metric_tags, std::string_view group);
  void end_session(SessionEnd end);
  void flush();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One value of one event, as read back. Exactly one of scalar, numbers and texts is set where the
/// value is of a kind that Quern knows.
struct EventValue {
  std::string tag;
  std::string plugin;  // "scalars", "histograms", "text", "pr_curves", …; empty when not said
  std::string plugin_content;  // the plugin's own message
  std::optional<double> scalar;
  std::vector<int64_t> shape;   // of numbers or texts
  std::vector<double> numbers;  // a tensor of float or double
  std::vector<std::string> texts;
};

struct Event {
  double wall_time = 0;  // seconds since 1970
  int64_t step = 0;
  std::string file_version;
  bool session_start = false;
  std::vector<EventValue> values;
};

struct EventFile {
  std::vector<Event> events;
  /// The last record was cut short (the writer was killed or is still writing) and left out.
  bool truncated = false;
};

/// Reads a whole event file. Throws FormatError naming `where` and the offset for a checksum that
/// does not fit or a record that is no event.
EventFile read_events(std::string_view bytes, std::string_view where);

/// The step after the last that the newest of the folder's event files with `tag` has of it; 0
/// where none has. Damaged files are passed over. Throws IoError.
int64_t next_step(const fs::path& folder, std::string_view tag);

}  // namespace quern::formats
