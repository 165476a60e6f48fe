#pragma once

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/file.h"
#include "quern/data/document_reader.h"

namespace quern::data {

/// A folder of its own for one test.
class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quern_data_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path write(const fs::path& name, std::string_view text) const {
    fs::create_directories((folder_ / name).parent_path());
    write_file(folder_ / name, text);
    return folder_ / name;
  }
  fs::path folder_;
};

/// The message and hint of the Error that f throws; empty when it throws none.
template <typename F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.code() + ": " + error.what() + " | " + error.hint();
  }
  return {};
}

inline std::string gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

inline std::string read_all(ByteSource& source, size_t step = 1000) {
  std::string out;
  std::string block(step, '\0');
  for (size_t got; (got = source.read(std::span(block.data(), step))) > 0;) {
    out.append(block, 0, got);
  }
  return out;
}

class CollectingSink final : public DocumentSink {
 public:
  void text(std::string_view piece) override { open_ += piece; }
  void end() override {
    documents.push_back(open_);
    open_.clear();
  }
  std::vector<std::string> documents;

 private:
  std::string open_;
};

inline std::vector<std::string> documents_of(std::string bytes, const std::string& name,
                                             const ReadOptions& options = {},
                                             ReadFacts* facts = nullptr) {
  CollectingSink sink;
  ReadFacts found =
      read_documents(open_bytes(std::move(bytes), name), name, options, sink, [](uint64_t) {});
  if (facts != nullptr) *facts = found;
  return sink.documents;
}

}  // namespace quern::data
