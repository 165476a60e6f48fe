#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "quern/base/error.h"
#include "quern/base/text_encoding.h"
#include "quern/data/document_reader.h"

namespace {

class CheckingSink final : public quern::data::DocumentSink {
 public:
  void text(std::string_view piece) override {
    if (quern::find_invalid_utf8(piece)) std::abort();
    open_ = true;
  }
  void end() override {
    if (!open_) std::abort();
    open_ = false;
  }

 private:
  bool open_ = false;
};

}  // namespace

// The first byte chooses the layout; the rest is the file, compressed or not. Whatever comes out is
// valid UTF-8 in whole documents.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  if (size < 2) return 0;
  constexpr const char* kNames[] = {"a.txt", "a.jsonl", "a.csv", "a.tsv"};
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  data::ReadOptions options;
  if ((data[0] & 4) != 0) options.rule = static_cast<data::DocumentRule>(data[0] >> 6);
  if ((data[0] & 8) != 0) options.column = "b";
  CheckingSink sink;
  try {
    data::read_documents(data::open_bytes(bytes, "input"), kNames[data[0] & 3], options, sink,
                         [](uint64_t) {});
  } catch (const Error&) {
  }
  return 0;
}
