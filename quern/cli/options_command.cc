#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/cli/command.h"
#include "quern/cli/command_list.h"

namespace quern::cli {

Action declare_options(Arguments& arguments, Invocation&) {
  auto markdown = std::make_shared<bool>(false);
  arguments.flag("--markdown", *markdown, "As a Markdown table, for the documentation");
  return [markdown](Invocation& invocation) {
    if (invocation.json) {
      nlohmann::json keys = nlohmann::json::array();
      for (const run::OptionInfo& info : run::option_table()) {
        keys.push_back({{"key", info.key},
                        {"value", invocation.options.text(info.key)},
                        {"default", info.fallback},
                        {"decided_by", invocation.options.who(info.key)},
                        {"accepted", info.accepted},
                        {"help", info.help}});
      }
      invocation.print(nlohmann::json{{"options", keys}}.dump() + "\n");
    } else if (*markdown) {
      invocation.print(run::options_markdown());
    } else {
      std::string text;
      for (const run::OptionInfo& info : run::option_table()) {
        text += fmt::format("{:<30} {:<10} {}\n", info.key,
                            info.fallback.empty() ? "\"\"" : info.fallback, info.help);
      }
      invocation.print(text);
    }
    return 0;
  };
}

}  // namespace quern::cli
