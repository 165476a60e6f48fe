#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "quern/base/error.h"
#include "quern/data/interactions.h"
#include "quern/data/table_reader.h"

// A log as CSV. Whatever is read counts every interaction once, and each user's times rise.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  try {
    const data::Table table = data::read_csv_text(
        "user,item,time\n" + std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    const data::Interactions log = data::read_interactions(table, {}, silent_reporter());
    if (log.item_of.size() + log.left_out != table.rows()) std::abort();
    for (size_t user = 0; user < log.users.size(); ++user) {
      const auto times = log.times_of(user);
      if (times.empty() || !std::is_sorted(times.begin(), times.end())) std::abort();
      for (const uint32_t item : log.items_of(user))
        if (item >= log.items.size()) std::abort();
    }
    data::require_learnable(log);
  } catch (const Error&) {
  }
  return 0;
}
