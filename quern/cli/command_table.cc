#include "quern/cli/command_list.h"

namespace quern::cli {
namespace {

constexpr Command kCommands[] = {
    {"generate", "continue a text, or show what may come next", declare_generate},
    {"options", "list every configuration key", declare_options},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace quern::cli
