#pragma once

#include "quern/cli/command.h"

namespace quern::cli {

// One function a command, each in NAME_command.cc; command_table.cc registers them.
Action declare_generate(CLI::App& app, Invocation& invocation);
Action declare_bench(CLI::App& app, Invocation& invocation);
Action declare_explain(CLI::App& app, Invocation& invocation);
Action declare_info(CLI::App& app, Invocation& invocation);
Action declare_options(CLI::App& app, Invocation& invocation);
Action declare_tokenizer(CLI::App& app, Invocation& invocation);
Action declare_check(CLI::App& app, Invocation& invocation);
Action declare_diagnose(CLI::App& app, Invocation& invocation);
Action declare_compare(CLI::App& app, Invocation& invocation);
Action declare_evaluate(CLI::App& app, Invocation& invocation);
Action declare_plan(CLI::App& app, Invocation& invocation);
Action declare_predict(CLI::App& app, Invocation& invocation);
Action declare_recommend(CLI::App& app, Invocation& invocation);
Action declare_train(CLI::App& app, Invocation& invocation);

}  // namespace quern::cli
