#include "quern/formats/projector.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>

namespace quern::formats {
namespace {

class ProjectorTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quern_projector_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string file(const char* name) const { return read_file(folder_ / name); }
  fs::path folder_;
};

TEST_F(ProjectorTest, WritesALineAPoint) {
  const std::vector<float> values = {1, -0.5F, 0, 1e-6F, 3, 2};
  ProjectorPoints points{"rows", 2, values, {"label", "prediction"}, {}};
  points.cells = {{"good", "bad"}, {"a\tb\nc", "\xFF"}, {"床", "good"}};
  write_projector(folder_, points);
  EXPECT_EQ(file("embeddings.tsv"), "1\t-0.5\n0\t1e-06\n3\t2\n");
  EXPECT_EQ(file("metadata.tsv"), "label\tprediction\ngood\tbad\na b c\t\uFFFD\n床\tgood\n");
  EXPECT_EQ(file("projector_config.pbtxt"),
            "embeddings {\n  tensor_name: \"rows\"\n  tensor_path: \"embeddings.tsv\"\n  "
            "metadata_path: \"metadata.tsv\"\n}\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 3);
}

TEST_F(ProjectorTest, OneColumnHasNoHeader) {
  const std::vector<float> values = {1, 2};
  write_projector(folder_, {"words", 1, values, {"word"}, {{"a"}, {"b"}}});
  EXPECT_EQ(file("metadata.tsv"), "a\nb\n");
}

TEST_F(ProjectorTest, RefusesOtherNumbersOfPoints) {
  const std::vector<float> values = {1, 2, 3};
  EXPECT_THROW(write_projector(folder_, {"x", 2, values, {"l"}, {{"a"}}}), std::invalid_argument);
  EXPECT_THROW(write_projector(folder_, {"x", 0, {}, {"l"}, {}}), std::invalid_argument);
  EXPECT_TRUE(fs::is_empty(folder_));
}

}  // namespace
}  // namespace quern::formats
