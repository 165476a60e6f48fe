#pragma once

#include "quern/cli/command.h"

namespace quern::cli {

// One function a command, each in NAME_command.cc; command_table.cc registers them.
Action declare_generate(Arguments& arguments, Invocation& invocation);
Action declare_bench(Arguments& arguments, Invocation& invocation);
Action declare_explain(Arguments& arguments, Invocation& invocation);
Action declare_info(Arguments& arguments, Invocation& invocation);
Action declare_options(Arguments& arguments, Invocation& invocation);
Action declare_tokenizer(Arguments& arguments, Invocation& invocation);
Action declare_check(Arguments& arguments, Invocation& invocation);
Action declare_diagnose(Arguments& arguments, Invocation& invocation);
Action declare_compare(Arguments& arguments, Invocation& invocation);
Action declare_evaluate(Arguments& arguments, Invocation& invocation);
Action declare_plan(Arguments& arguments, Invocation& invocation);
Action declare_predict(Arguments& arguments, Invocation& invocation);
Action declare_quantize(Arguments& arguments, Invocation& invocation);
Action declare_recommend(Arguments& arguments, Invocation& invocation);
Action declare_train(Arguments& arguments, Invocation& invocation);

}  // namespace quern::cli
