#include "quern/cli/history_input.h"

#include <fmt/format.h>

#include "quern/base/error.h"
#include "quern/base/strings.h"

namespace quern::cli {

std::vector<uint32_t> named_history(const run::ItemRun& run, const std::string& user,
                                    const std::string& history) {
  if (!user.empty()) {
    const int64_t known = run.histories.find(user);
    if (known >= 0) return run.histories.items[static_cast<size_t>(known)];
    const auto near = nearest(user, run.histories.users);
    throw UsageError("unknown_user",
                     fmt::format("user '{}' is not one of the {} that the run knows", user,
                                 run.histories.users.size()),
                     near ? fmt::format("did you mean '{}'? Else give --history a,b,c", *near)
                          : "give what the user took with --history a,b,c");
  }
  std::vector<uint32_t> ids;
  for (const std::string& name : split(history, ','))
    ids.push_back(run.pipeline.items.require(trim(name)));
  return ids;
}

}  // namespace quern::cli
