#include "quern/base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "quern/base/error.h"

namespace quern {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quern_file_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  fs::path folder_;
};

template <typename F>
std::string code_of(F f) {
  try {
    f();
  } catch (const IoError& error) {
    EXPECT_FALSE(std::string(error.what()).empty());
    return error.code();
  }
  return "nothing thrown";
}

TEST_F(FileTest, WritesAndReadsBack) {
  const std::string text = std::string("a\0b\n", 4) + std::string(300000, 'x');
  write_file(folder_ / "f", text);
  EXPECT_EQ(read_file(folder_ / "f"), text);
  EXPECT_EQ(MappedFile(folder_ / "f").text(), text);
  EXPECT_EQ(files(), 1u);
  write_file(folder_ / "f", "short");
  EXPECT_EQ(read_file(folder_ / "f"), "short");
  write_file(folder_ / "f", "");
  EXPECT_EQ(read_file(folder_ / "f"), "");
  EXPECT_EQ(MappedFile(folder_ / "f").bytes().size(), 0u);
}

TEST_F(FileTest, WithoutCommitTheOldFileStands) {
  write_file(folder_ / "f", "old");
  {
    AtomicFile file(folder_ / "f");
    file.write("new");
    file.write(std::string(200000, 'y'));
    EXPECT_EQ(file.size(), 200003u);
    EXPECT_EQ(read_file(folder_ / "f"), "old");
    EXPECT_EQ(files(), 2u);
  }
  EXPECT_EQ(read_file(folder_ / "f"), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileTest, FollowsALink) {
  write_file(folder_ / "real", "old");
  fs::create_symlink("real", folder_ / "link");
  write_file(folder_ / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_file(folder_ / "real"), "new");
}

TEST_F(FileTest, APipeOrADeviceIsWrittenInPlace) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  write_file(pipe, "text");
  char got[8] = {};
  EXPECT_EQ(read(reader, got, sizeof(got)), 4);
  EXPECT_STREQ(got, "text");
  close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(files(), 1u);
  if (fs::is_character_file("/dev/full")) {
    EXPECT_EQ(code_of([] { write_file("/dev/full", "text"); }), "disk_full");
    EXPECT_TRUE(fs::is_character_file("/dev/full"));
  }
}

TEST_F(FileTest, AFailedWriteLeavesNothingBehind) {
  write_file(folder_ / "f", "old");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 100000;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_EQ(code_of([&] {
              AtomicFile file(folder_ / "f");
              for (int i = 0; i < 100; ++i) file.write(std::string(10000, 'z'));
              file.commit();
            }),
            "io");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_file(folder_ / "f"), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileTest, ErrorsNameTheKind) {
  EXPECT_EQ(code_of([&] { read_file(folder_ / "none"); }), "file_missing");
  EXPECT_EQ(code_of([&] { MappedFile(folder_ / "none"); }), "file_missing");
  EXPECT_EQ(code_of([&] { write_file(folder_ / "none" / "f", ""); }), "file_missing");
  EXPECT_EQ(code_of([&] { AppendFile(folder_ / "none" / "f"); }), "file_missing");
  EXPECT_EQ(code_of([&] { read_file(folder_); }), "is_a_folder");
  EXPECT_EQ(code_of([&] { MappedFile{folder_}; }), "is_a_folder");
  EXPECT_EQ(code_of([&] { write_file(folder_, ""); }), "is_a_folder");
  EXPECT_EQ(code_of([&] { MappedFile("/dev/zero"); }), "io");
  if (geteuid() != 0) {
    chmod(folder_.c_str(), 0555);
    EXPECT_EQ(code_of([&] { write_file(folder_ / "f", ""); }), "no_permission");
    chmod(folder_.c_str(), 0755);
  }
}

TEST_F(FileTest, AppendsWholeRecords) {
  {
    AppendFile file(folder_ / "log");
    file.write("one\n");
    EXPECT_EQ(read_file(folder_ / "log"), "one\n");
  }
  AppendFile file(folder_ / "log");
  file.write("two\n");
  EXPECT_EQ(read_file(folder_ / "log"), "one\ntwo\n");
}

TEST_F(FileTest, MappingMovesWithItsAddress) {
  write_file(folder_ / "f", "text");
  MappedFile a(folder_ / "f");
  const void* address = a.bytes().data();
  MappedFile b(std::move(a));
  EXPECT_EQ(b.bytes().data(), address);
  MappedFile c;
  c = std::move(b);
  EXPECT_EQ(c.text(), "text");
  EXPECT_EQ(c.bytes().data(), address);
}

}  // namespace
}  // namespace quern
