#include "quern/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "quern/base/error.h"

namespace quern::formats {
namespace {

using testing::HasSubstr;

std::string file_of(const std::string& header, size_t data_bytes) {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, 'd');
}

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file.data(), file.size())), "w.safetensors");
}

std::string failure(const std::string& file) {
  try {
    parse(file);
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("w.safetensors"));
    return error.what();
  }
  return "accepted";
}

class SafetensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quern_st_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(SafetensorsTest, RoundTripsEveryDtypeInAnyOrder) {
  const std::string bytes = "0123456789abcdefghijklmnopqrstuvwxyz";
  const auto data = [&](size_t n) { return std::as_bytes(std::span(bytes.data(), n)); };
  std::vector<TensorData> tensors = {{"u8", DType::kU8, {3}, data(3)},
                                     {"f32", DType::kF32, {2, 3}, data(24)},
                                     {"bf16", DType::kBF16, {5}, data(10)},
                                     {"f16", DType::kF16, {1, 1, 2}, data(4)},
                                     {"i64", DType::kI64, {}, data(8)},
                                     {"i32", DType::kI32, {2}, data(8)},
                                     {"f64", DType::kF64, {1}, data(8)},
                                     {"bool", DType::kBool, {7}, data(7)},
                                     {"empty", DType::kF32, {0, 9}, data(0)},
                                     {"u32", DType::kU32, {1}, data(4)},
                                     {"名 \"quoted\"\n", DType::kU8, {1}, data(1)}};
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"b", "值\""}};
  write_safetensors(folder_ / "a", tensors, metadata);
  std::swap(tensors.front(), tensors.back());
  std::swap(tensors[3], tensors[5]);
  write_safetensors(folder_ / "b", tensors, metadata);
  EXPECT_EQ(read_file(folder_ / "a"), read_file(folder_ / "b"));

  const SafetensorsFile file(folder_ / "a");
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const TensorData& tensor : tensors) {
    const TensorEntry& entry = file.at(tensor.name);
    EXPECT_EQ(entry.dtype, tensor.dtype);
    EXPECT_EQ(entry.shape, tensor.shape);
    const auto got = file.data(entry);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), tensor.data.begin(), tensor.data.end()));
    EXPECT_EQ(entry.offset % size_of(entry.dtype), 0u) << "aligned in the file";
  }
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_THROW(file.at("none"), FormatError);
}

// The bytes that the reference implementation (safetensors 0.8, Python) writes for the same.
TEST_F(SafetensorsTest, WritesTheBytesOfTheReferenceImplementation) {
  const float a[] = {1, 2, 3};
  const uint8_t b[] = {7};
  const std::vector<TensorData> tensors = {{"b", DType::kU8, {1}, std::as_bytes(std::span(b))},
                                           {"a", DType::kF32, {3}, std::as_bytes(std::span(a))}};
  write_safetensors(folder_ / "f", tensors, {{"format", "pt"}});
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[12,13]}}    )";
  EXPECT_EQ(read_file(folder_ / "f"), std::string("\x90\0\0\0\0\0\0\0", 8) + header +
                                          std::string("\0\0\x80?\0\0\0@\0\0@@\x07", 13));
}

TEST_F(SafetensorsTest, RefusesToWriteWhatItCouldNotRead) {
  const float x[] = {1, 2};
  const auto data = std::as_bytes(std::span(x));
  const auto write = [&](std::vector<TensorData> tensors) {
    write_safetensors(folder_ / "f", tensors);
  };
  EXPECT_THROW(write({{"a", DType::kF32, {3}, data}}), FormatError);
  EXPECT_THROW(write({{"a", DType::kF32, {2}, data}, {"a", DType::kF32, {2}, data}}), FormatError);
  EXPECT_THROW(write({{"__metadata__", DType::kF32, {2}, data}}), FormatError);
  EXPECT_THROW(write({{"\xFF", DType::kF32, {2}, data}}), FormatError);
  EXPECT_THROW(write({{"a", DType::kF32, {-1, -2}, data}}), FormatError);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST(Safetensors, AcceptsWhatIsWellFormed) {
  const std::string one = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(parse(file_of(one, 8)).tensors.at(0).bytes, 8u);
  EXPECT_EQ(parse(file_of(one + "   ", 8)).tensors.size(), 1u);
  EXPECT_TRUE(parse(file_of("{}", 0)).tensors.empty());
  const auto two = parse(file_of(R"({"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                                 R"("a":{"dtype":"I64","shape":[1,1],"data_offsets":[1,9]},)"
                                 R"("__metadata__":{"k":"v"}})",
                                 9));
  EXPECT_EQ(two.tensors.at(0).name, "b");
  EXPECT_EQ(two.tensors.at(1).offset, two.tensors.at(0).offset + 1);
  EXPECT_EQ(two.metadata.at("k"), "v");
}

TEST(Safetensors, RefusesDamagedFiles) {
  const auto tensor = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
  };
  const std::string good = file_of(tensor("\"F32\"", "[2]", "[0,8]"), 8);
  EXPECT_EQ(failure(good), "accepted");
  for (size_t n = 0; n < good.size(); ++n) EXPECT_NE(failure(good.substr(0, n)), "accepted") << n;
  EXPECT_THAT(failure(good + "x"), HasSubstr("the file at"));
  EXPECT_THAT(failure(std::string(8, '\xFF') + "{}"), HasSubstr("100 MB"));
  EXPECT_THAT(failure(file_of(" {}", 0)), HasSubstr("start with {"));
  EXPECT_THAT(failure(file_of("[]", 0)), HasSubstr("start with {"));
  EXPECT_THAT(failure(file_of("{\"a\":1", 0)), HasSubstr("not valid JSON"));

  const std::pair<std::string, const char*> cases[] = {
      {tensor("\"F33\"", "[2]", "[0,8]"), "unsupported dtype"},
      {tensor("5", "[2]", "[0,8]"), "unsupported dtype"},
      {tensor("\"F32\"", "[-2]", "[0,8]"), "not a whole number"},
      {tensor("\"F32\"", "[2.0]", "[0,8]"), "not a whole number"},
      {tensor("\"F32\"", "[\"2\"]", "[0,8]"), "not a whole number"},
      {tensor("\"F32\"", "2", "[0,8]"), "the shape is not"},
      {tensor("\"F32\"", "[1,1,1,1,1,1,2]", "[0,8]"), "the shape is not"},
      {tensor("\"F32\"", "[3]", "[0,8]"), "need 12 bytes"},
      {tensor("\"F32\"", "[2]", "[8,0]"), "do not hold"},
      {tensor("\"F32\"", "[2]", "[0,8,9]"), "not a pair"},
      {tensor("\"F32\"", "[2]", "[0,1e1]"), "not a whole number"},
      {tensor("\"F32\"", "[4294967296,4294967296]", "[0,0]"), "does not fit"},
      {tensor("\"F32\"", "[18446744073709551615]", "[0,8]"), "too large"},
      {tensor("\"F32\"", "[2]", "[18446744073709551608,18446744073709551616]"), ""},
      {tensor("\"U8\"", "[8]", "[18446744073709551600,18446744073709551608]"), "does not fit"},
      {tensor("\"F32\"", "[1]", "[4,8]"), "the one before it ends"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "must have"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", "nothing else"},
      {R"({"a":7})", "must have"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       "occurs twice"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "the one before it ends"},
      {R"({"__metadata__":{"a":1}})", "is not a string"},
      {R"({"__metadata__":[]})", "not an object"},
  };
  for (const auto& [header, message] : cases) {
    const std::string got = failure(file_of(header, 8));
    EXPECT_NE(got, "accepted") << header;
    EXPECT_THAT(got, HasSubstr(message)) << header;
  }
}

}  // namespace
}  // namespace quern::formats
