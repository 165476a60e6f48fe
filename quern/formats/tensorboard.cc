#include "quern/formats/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/readable_text.h"
#include "quern/formats/tensorboard_events.pb.h"
#include "quern/formats/tensorboard_types.h"

namespace quern::formats {
namespace {

constexpr std::chrono::seconds kFlushInterval{5};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void append_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift);
}

// A record: length, its checksum, the data, its checksum.
void append_record(std::string& out, std::string_view data) {
  const size_t start = out.size();
  append_u32(out, static_cast<uint32_t>(data.size()));
  append_u32(out, static_cast<uint32_t>(uint64_t{data.size()} >> 32));
  append_u32(out, masked_crc32c(std::string_view(out).substr(start, 8)));
  out += data;
  append_u32(out, masked_crc32c(data));
}

// TensorBoard orders the files of a folder by name. A file must not sort before one that is there,
// even when a run resumes within a second or the clock was set back.
int64_t next_file_time(const fs::path& folder) {
  int64_t time = static_cast<int64_t>(now_seconds());
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with(kEventFilePrefix)) continue;
    const char* digits = file.c_str() + kEventFilePrefix.size();
    const int64_t there = std::strtoll(digits, nullptr, 10);
    if (there < 9'999'999'999) time = std::max(time, there + 1);
  }
  return time;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  std::string host(name.data());
  std::replace(host.begin(), host.end(), '/', '_');
  return host;
}

fs::path new_event_file(const fs::path& folder) {
  static std::atomic<int> uid{0};
  return folder / fmt::format("{}{:010}.{}.{}.{}", kEventFilePrefix, next_file_time(folder),
                              host_name(), getpid(), uid++);
}

}  // namespace

std::vector<HistogramBucket> histogram(std::span<const float> values, size_t buckets) {
  float low = INFINITY;
  float high = -INFINITY;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high || buckets == 0) return {};
  if (low == high) {
    const auto finite =
        std::count_if(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
    return {{low - 0.5, low + 0.5, static_cast<double>(finite)}};
  }
  const double start = low;
  const double width = (static_cast<double>(high) - start) / static_cast<double>(buckets);
  const double per_width = 1 / width;
  std::vector<uint64_t> counts(buckets, 0);
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const auto bucket = static_cast<size_t>((value - start) * per_width);
    ++counts[std::min(bucket, buckets - 1)];
  }
  std::vector<HistogramBucket> out(buckets);
  for (size_t i = 0; i < buckets; ++i) {
    out[i] = {start + width * static_cast<double>(i), start + width * static_cast<double>(i + 1),
              static_cast<double>(counts[i])};
  }
  out.back().right = high;
  return out;
}

struct EventWriter::Impl {
  explicit Impl(const fs::path& folder) : file(new_event_file(folder)) {}

  AppendFile file;
  std::string pending;
  std::chrono::steady_clock::time_point last_flush = std::chrono::steady_clock::now();

  void flush() {
    last_flush = std::chrono::steady_clock::now();
    if (pending.empty()) return;
    // Given up when it fails: the destructor must not try again.
    const std::string bytes = std::move(pending);
    pending.clear();
    file.write(bytes);
  }

  void add(const proto::Event& event) {
    append_record(pending, event.SerializeAsString());
    if (std::chrono::steady_clock::now() - last_flush >= kFlushInterval) flush();
  }

  static proto::Event event_at(int64_t step) {
    proto::Event event;
    event.set_wall_time(now_seconds());
    event.set_step(step);
    return event;
  }

  static proto::Summary::Value* value_of(proto::Event& event, std::string_view tag,
                                         std::string_view plugin) {
    proto::Summary::Value* value = event.mutable_summary()->add_value();
    value->set_tag(valid_utf8(tag));
    if (!plugin.empty()) {
      value->mutable_metadata()->mutable_plugin_data()->set_plugin_name(std::string(plugin));
    }
    return value;
  }

  void add_hparams(std::string_view tag, const proto::HParamsPluginData& data) {
    proto::Event event = event_at(0);
    proto::Summary::Value* value = value_of(event, tag, "hparams");
    value->mutable_metadata()->mutable_plugin_data()->set_content(data.SerializeAsString());
    // TensorBoard's own writer attaches one float zero: a value without a tensor is dropped.
    proto::Tensor* tensor = value->mutable_tensor();
    tensor->set_dtype(kFloat);
    tensor->mutable_shape()->add_dim()->set_size(1);
    tensor->set_tensor_content(std::string(4, '\0'));
    add(event);
  }
};

EventWriter::EventWriter(const fs::path& folder) : impl_(std::make_unique<Impl>(folder)) {
  proto::Event event;
  event.set_wall_time(now_seconds());
  event.set_file_version("brain.Event:2");
  impl_->add(event);
  impl_->flush();
}

EventWriter::~EventWriter() {
  try {
    impl_->flush();
  } catch (const Error&) {
    // A destructor cannot report; who must know calls flush().
  }
}

const fs::path& EventWriter::path() const { return impl_->file.path(); }
void EventWriter::flush() { impl_->flush(); }

void EventWriter::resume_at(int64_t step) {
  proto::Event event = Impl::event_at(step);
  event.mutable_session_log()->set_status(1);
  impl_->add(event);
}

void EventWriter::scalar(std::string_view tag, int64_t step, double value) {
  proto::Event event = Impl::event_at(step);
  Impl::value_of(event, tag, "")->set_simple_value(static_cast<float>(value));
  impl_->add(event);
}

void EventWriter::histogram(std::string_view tag, int64_t step,
                            std::span<const HistogramBucket> buckets) {
  static_assert(std::endian::native == std::endian::little && sizeof(HistogramBucket) == 24);
  proto::Event event = Impl::event_at(step);
  proto::Summary::Value* value = Impl::value_of(event, tag, "histograms");
  value->mutable_metadata()->set_data_class(kTensorClass);
  proto::Tensor* tensor = value->mutable_tensor();  // (k, 3)
  tensor->set_dtype(kDouble);
  tensor->mutable_shape()->add_dim()->set_size(static_cast<int64_t>(buckets.size()));
  tensor->mutable_shape()->add_dim()->set_size(3);
  tensor->set_tensor_content(buckets.data(), buckets.size_bytes());
  impl_->add(event);
}

void EventWriter::text(std::string_view tag, int64_t step, std::string_view markdown) {
  proto::Event event = Impl::event_at(step);
  proto::Summary::Value* value = Impl::value_of(event, tag, "text");
  value->mutable_metadata()->set_data_class(kTensorClass);
  proto::Tensor* tensor = value->mutable_tensor();  // a scalar
  tensor->set_dtype(kString);
  tensor->mutable_shape();
  tensor->add_string_val(valid_utf8(markdown));
  impl_->add(event);
}

void EventWriter::pr_curve(std::string_view tag, int64_t step, std::span<const PrPoint> points) {
  proto::Event event = Impl::event_at(step);
  proto::Summary::Value* value = Impl::value_of(event, tag, "pr_curves");
  proto::PrCurvePluginData data;
  data.set_num_thresholds(static_cast<uint32_t>(points.size()));
  value->mutable_metadata()->mutable_plugin_data()->set_content(data.SerializeAsString());
  value->mutable_metadata()->set_data_class(kTensorClass);
  proto::Tensor* tensor = value->mutable_tensor();  // (6, thresholds)
  tensor->set_dtype(kFloat);
  tensor->mutable_shape()->add_dim()->set_size(6);
  tensor->mutable_shape()->add_dim()->set_size(static_cast<int64_t>(points.size()));
  const auto add_row = [&](auto of) {
    for (const PrPoint& point : points) tensor->add_float_val(static_cast<float>(of(point)));
  };
  add_row([](const PrPoint& p) { return p.true_positives; });
  add_row([](const PrPoint& p) { return p.false_positives; });
  add_row([](const PrPoint& p) { return p.true_negatives; });
  add_row([](const PrPoint& p) { return p.false_negatives; });
  // As TensorBoard's own summary does it: no division by zero.
  const auto over = [](double part, double whole) { return part / std::max(1e-7, whole); };
  add_row([&](const PrPoint& p) {
    return over(p.true_positives, p.true_positives + p.false_positives);
  });
  add_row([&](const PrPoint& p) {
    return over(p.true_positives, p.true_positives + p.false_negatives);
  });
  impl_->add(event);
}

void EventWriter::images(std::string_view tag, int64_t step, int64_t height, int64_t width,
                         std::span<const std::string> pngs) {
  proto::Event event = Impl::event_at(step);
  proto::Summary::Value* value = Impl::value_of(event, tag, "images");
  value->mutable_metadata()->set_data_class(kBlobClass);
  proto::Tensor* tensor = value->mutable_tensor();  // (2 + pictures): width, height, then each
  tensor->set_dtype(kString);
  tensor->mutable_shape()->add_dim()->set_size(static_cast<int64_t>(pngs.size()) + 2);
  tensor->add_string_val(std::to_string(width));
  tensor->add_string_val(std::to_string(height));
  for (const std::string& png : pngs) tensor->add_string_val(png);
  impl_->add(event);
}

void EventWriter::hyper_parameters(std::span<const HyperParameter> settings,
                                   std::span<const std::string> metric_tags,
                                   std::string_view group) {
  const double now = now_seconds();
  proto::HParamsPluginData experiment;
  proto::HParamsPluginData session;
  experiment.mutable_experiment()->set_time_created_secs(now);
  session.mutable_session_start_info()->set_start_time_secs(now);
  session.mutable_session_start_info()->set_group_name(valid_utf8(group));
  for (const HyperParameter& setting : settings) {
    const std::string name = valid_utf8(setting.name);
    proto::HParamInfo* info = experiment.mutable_experiment()->add_hparam_infos();
    info->set_name(name);
    proto::HParamValue& value = (*session.mutable_session_start_info()->mutable_hparams())[name];
    if (const auto* number = std::get_if<double>(&setting.value)) {
      info->set_type(3);
      value.set_number_value(*number);
    } else if (const auto* text = std::get_if<std::string>(&setting.value)) {
      info->set_type(1);
      value.set_string_value(valid_utf8(*text));
    } else {
      info->set_type(2);
      value.set_bool_value(std::get<bool>(setting.value));
    }
  }
  for (const std::string& tag : metric_tags) {
    experiment.mutable_experiment()->add_metric_infos()->mutable_name()->set_tag(valid_utf8(tag));
  }
  impl_->add_hparams("_hparams_/experiment", experiment);
  impl_->add_hparams("_hparams_/session_start_info", session);
}

void EventWriter::end_session(SessionEnd end) {
  proto::HParamsPluginData data;
  data.mutable_session_end_info()->set_status(static_cast<int>(end));
  data.mutable_session_end_info()->set_end_time_secs(now_seconds());
  impl_->add_hparams("_hparams_/session_end_info", data);
}

}  // namespace quern::formats
