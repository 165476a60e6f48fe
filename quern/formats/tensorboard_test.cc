#include "quern/formats/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "quern/base/error.h"
#include "quern/base/hash.h"

namespace quern::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The first record of a file by TensorFlow.
const std::string kFirstRecord(
    "\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\0\0\x80\x38\x99\xd6\xd7\x41\x1a\x0d"
    "brain.Event:2\x12\x4b\x36\xab",
    40);

class EventsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quern_tb_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

std::string record(const std::string& data) {
  const uint64_t size = data.size();
  std::string length(reinterpret_cast<const char*>(&size), 8);
  const auto crc = [](const std::string& bytes) {
    const uint32_t value = masked_crc32c(bytes);
    return std::string(reinterpret_cast<const char*>(&value), 4);
  };
  return length + crc(length) + data + crc(data);
}

std::string failure(const std::string& bytes) {
  try {
    read_events(bytes, "events");
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("events"));
    return error.what();
  }
  return "accepted";
}

TEST(Histogram, CountsFiniteValuesInEqualBuckets) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 4, NAN, INFINITY, 0.5f};
  const auto buckets = histogram(values, 4);
  ASSERT_EQ(buckets.size(), 4u);
  EXPECT_EQ(buckets[0].left, 0);
  EXPECT_EQ(buckets[3].right, 4);
  const double counts[] = {2, 1, 1, 3};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(buckets[i].count, counts[i]);
    EXPECT_DOUBLE_EQ(buckets[i].right - buckets[i].left, 1);
  }
}

TEST(Histogram, EdgeCases) {
  EXPECT_TRUE(histogram({}).empty());
  const std::vector<float> nothing_finite = {NAN, INFINITY};
  EXPECT_TRUE(histogram(nothing_finite).empty());
  const std::vector<float> constant = {3, 3, NAN};
  const auto one = histogram(constant);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].left, 2.5);
  EXPECT_EQ(one[0].right, 3.5);
  EXPECT_EQ(one[0].count, 2);
  // The widest range, and the narrowest: no overflow, no value lost.
  for (const std::vector<float>& values : {std::vector<float>{-3.4e38f, 0, 3.4e38f},
                                           {1e-45f, 2e-45f, 0},
                                           {1, std::nextafterf(1, 2), 1}}) {
    double total = 0;
    for (const auto& bucket : histogram(values)) total += bucket.count;
    EXPECT_EQ(total, 3);
  }
}

TEST_F(EventsTest, ReadsBackWhatItWrites) {
  {
    EventWriter writer(folder_);
    EXPECT_THAT(
        writer.path().filename().string(),
        testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]{10}\\..+\\.[0-9]+\\.[0-9]+"));
    const std::vector<HyperParameter> settings = {
        {"train.learning_rate", 1e-3}, {"model.preset", std::string("gpt2")}, {"model.bias", true}};
    const std::vector<std::string> metrics = {"loss/validation"};
    writer.hyper_parameters(settings, metrics, "run");
    writer.resume_at(10);
    writer.scalar("loss/train", 11, 2.5);
    const std::vector<HistogramBucket> buckets = {{-1, 0, 3}, {0, 1, 4}};
    writer.histogram("weights/wte", 11, buckets);
    writer.text("samples", 11, "床前\xFF");
    writer.end_session(SessionEnd::kSuccess);
  }
  ASSERT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
  const fs::path path = fs::directory_iterator(folder_)->path();
  const EventFile file = read_events(read_file(path), path.string());
  EXPECT_FALSE(file.truncated);
  ASSERT_EQ(file.events.size(), 8u);
  EXPECT_EQ(file.events[0].file_version, "brain.Event:2");
  EXPECT_GT(file.events[0].wall_time, 1.6e9);
  for (const auto& [at, tag] : {std::pair<size_t, const char*>{1, "_hparams_/experiment"},
                                {2, "_hparams_/session_start_info"},
                                {7, "_hparams_/session_end_info"}}) {
    EXPECT_EQ(file.events[at].values.at(0).tag, tag);
    EXPECT_EQ(file.events[at].values.at(0).plugin, "hparams");
    EXPECT_FALSE(file.events[at].values.at(0).plugin_content.empty());
  }
  EXPECT_TRUE(file.events[3].session_start);
  EXPECT_EQ(file.events[3].step, 10);
  const EventValue& scalar = file.events[4].values.at(0);
  EXPECT_EQ(file.events[4].step, 11);
  EXPECT_EQ(scalar.tag, "loss/train");
  EXPECT_EQ(scalar.scalar, 2.5);
  const EventValue& histogram = file.events[5].values.at(0);
  EXPECT_EQ(histogram.plugin, "histograms");
  EXPECT_THAT(histogram.shape, ElementsAre(2, 3));
  EXPECT_THAT(histogram.numbers, ElementsAre(-1, 0, 3, 0, 1, 4));
  const EventValue& text = file.events[6].values.at(0);
  EXPECT_EQ(text.plugin, "text");
  EXPECT_THAT(text.texts, ElementsAre("床前\uFFFD"));
  EXPECT_FALSE(file.events[6].values[0].scalar.has_value());
}

TEST_F(EventsTest, TheNextFileSortsLast) {
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) names.push_back(EventWriter(folder_).path().filename().string());
  write_file(folder_ / "events.out.tfevents.4000000000.host.1.0", "");
  names.push_back(EventWriter(folder_).path().filename().string());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_THAT(names.back(), HasSubstr(".4000000001."));
}

TEST_F(EventsTest, StepsRiseFromFileToFile) {
  EXPECT_EQ(next_step(folder_ / "missing", "why"), 0);
  for (int64_t step = 0; step < 3; ++step) {
    EXPECT_EQ(next_step(folder_, "why"), step);
    EventWriter writer(folder_);
    writer.text("why", step, "because");
    writer.scalar("other", 90, 1);
  }
  write_file(folder_ / "events.out.tfevents.1000000000.host.1.0", std::string(40, 'x'));
  EXPECT_EQ(next_step(folder_, "why"), 3);
  EXPECT_EQ(next_step(folder_, "other"), 91);
}

TEST_F(EventsTest, FlushesOnRequest) {
  EventWriter writer(folder_);
  writer.scalar("x", 1, 1);
  EXPECT_EQ(read_events(read_file(writer.path()), "events").events.size(), 1u);
  writer.flush();
  EXPECT_EQ(read_events(read_file(writer.path()), "events").events.size(), 2u);
}

TEST_F(EventsTest, PrecisionAndRecallFollowFromTheCounts) {
  EventWriter writer(folder_);
  writer.pr_curve("pr", 3, std::vector<PrPoint>{{4, 6, 0, 0}, {3, 1, 5, 1}, {0, 0, 6, 4}});
  writer.flush();
  const EventValue value =
      read_events(read_file(writer.path()), "events").events.at(1).values.at(0);
  EXPECT_EQ(value.plugin, "pr_curves");
  EXPECT_EQ(value.plugin_content, "\x10\x03");  // num_thresholds: 3
  EXPECT_THAT(value.shape, ElementsAre(6, 3));
  const std::vector<double> precision(value.numbers.begin() + 12, value.numbers.begin() + 15);
  const std::vector<double> recall(value.numbers.begin() + 15, value.numbers.end());
  EXPECT_THAT(precision, ElementsAre(testing::DoubleNear(0.4, 1e-7), 0.75, 0));
  EXPECT_THAT(recall, ElementsAre(1, 0.75, 0));
}

TEST_F(EventsTest, PicturesStandBehindTheirSize) {
  EventWriter writer(folder_);
  writer.images("pictures", 1, 2, 5, std::vector<std::string>{"one", "two"});
  writer.flush();
  const EventValue value =
      read_events(read_file(writer.path()), "events").events.at(1).values.at(0);
  EXPECT_EQ(value.plugin, "images");
  EXPECT_THAT(value.shape, ElementsAre(4));
  EXPECT_THAT(value.texts, ElementsAre("5", "2", "one", "two"));
}

TEST_F(EventsTest, AMissingFolderIsAnError) {
  EXPECT_THROW(EventWriter(folder_ / "none"), IoError);
}

TEST(ReadEvents, ReadsTheFirstRecordOfTensorFlow) {
  const EventFile file = read_events(kFirstRecord, "events");
  ASSERT_EQ(file.events.size(), 1u);
  EXPECT_EQ(file.events[0].file_version, "brain.Event:2");
  EXPECT_NEAR(file.events[0].wall_time, 1.6e9, 1e9);
}

TEST(ReadEvents, LeavesOutATruncatedTail) {
  const std::string two = kFirstRecord + kFirstRecord;
  for (size_t n = 0; n <= two.size(); ++n) {
    const EventFile file = read_events(two.substr(0, n), "events");
    EXPECT_EQ(file.events.size(), n / 40);
    EXPECT_EQ(file.truncated, n % 40 != 0);
  }
}

TEST(ReadEvents, FindsEveryFlippedByte) {
  for (size_t at = 0; at < kFirstRecord.size(); ++at) {
    std::string bytes = kFirstRecord;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    EXPECT_THAT(failure(bytes), HasSubstr("record at byte 0")) << at;
  }
}

TEST(ReadEvents, RefusesBadRecords) {
  EXPECT_THAT(failure(kFirstRecord + record("\xFF\xFF\xFF")),
              HasSubstr("record at byte 40: not an event"));
  // A length beyond the file, with a right checksum, is a tail that was cut short.
  const std::string length(8, '\x7F');
  const uint32_t crc = masked_crc32c(length);
  const EventFile cut = read_events(
      length + std::string(reinterpret_cast<const char*>(&crc), 4) + "abcdefgh", "events");
  EXPECT_TRUE(cut.truncated);
  EXPECT_TRUE(cut.events.empty());
  // Summary with tensors that lie about their size: dtype 2, shape (3), 8 bytes; shape (-1).
  const std::string content = std::string("\x22\x08", 2) + std::string(8, '\0');
  const auto event = [&](const std::string& shape) {
    const auto wrap = [](char tag, const std::string& body) {
      return std::string{tag, static_cast<char>(body.size())} + body;
    };
    const std::string tensor =
        std::string("\x08\x02") + wrap('\x12', wrap('\x12', shape)) + content;
    return record(wrap('\x2A', wrap('\x0A', wrap('\x42', tensor))));
  };
  EXPECT_EQ(failure(event(std::string("\x08\x01"))), "accepted");
  EXPECT_THAT(failure(event(std::string("\x08\x03"))), HasSubstr("what its shape says"));
  EXPECT_THAT(failure(event("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")),
              HasSubstr("negative extent"));
}

}  // namespace
}  // namespace quern::formats
