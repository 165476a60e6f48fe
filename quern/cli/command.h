#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quern/base/progress.h"
#include "quern/cli/arguments.h"
#include "quern/data/table_reader.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/run/options.h"

namespace quern::cli {

/// The streams of a process, or of a test.
struct Streams {
  std::FILE* in = stdin;
  std::FILE* out = stdout;
  std::FILE* error = stderr;
  bool error_is_terminal = false;
};

/// What every command gets: the common flags, the configuration as far as it was said explicitly
/// (--config, then --set, then flags), and where notes go.
struct Invocation {
  bool json = false;
  bool quiet = false;
  Streams streams;
  run::Options options;
  Reporter* reporter = nullptr;
  /// Where --device cuda computes; null: the processor does. Outlives whatever the action makes.
  std::unique_ptr<kernels::cuda::Gpu> gpu;
  /// Opens the GPU of --device cuda for a command that does not always take the first; may be
  /// empty.
  std::function<std::unique_ptr<kernels::cuda::Gpu>(kernels::cuda::Precision,
                                                    bool stochastic_rounding)>
      open_gpu;
  /// Called before standard output is written to; may be empty.
  std::function<void()> before_print;
  /// Called with the exit code after an error was reported; may be empty.
  std::function<void(int)> on_failure;

  /// Writes to standard output and flushes. Throws IoError when that fails (a full disk, a closed
  /// pipe).
  void print(std::string_view text) const;

  /// Values of flags that stand for configuration keys, in the order they were written.
  struct FlagValue {
    std::string key, value, flag;
  };
  std::vector<FlagValue> flag_values;
};

/// Runs after parsing; returns the exit code. With --json it prints one JSON object and nothing
/// else.
using Action = std::function<int(Invocation&)>;

/// One command, one file. `declare` adds its own arguments and returns what it does. They and
/// `invocation` outlive the action.
struct Command {
  std::string_view name;
  std::string_view summary;
  Action (*declare)(Arguments& arguments, Invocation& invocation);
};

/// All commands, in the order of the help text. A new one is registered in command_table.cc.
std::span<const Command> commands();

/// Adds a flag that stands for a configuration key, with the help of the options table. A boolean
/// key becomes a flag without a value.
Argument add_option_flag(Arguments& arguments, Invocation& invocation, const std::string& flag,
                         std::string_view key);
/// Several of them: each flag with its key.
void add_option_flags(Arguments& arguments, Invocation& invocation,
                      std::initializer_list<std::pair<const char*, const char*>> flags);

/// --table NAME, for a command that reads tables, and what it asks of their readers.
void add_table_flag(Arguments& arguments, Invocation& invocation);
data::TableOptions table_options(const Invocation& invocation);

/// Reads a file, or standard input where `path` is "-".
std::string read_input(const Invocation& invocation, const std::string& path);
/// Writes a file whole, or standard output where `path` is "-".
void write_output(const Invocation& invocation, const std::string& path, std::string_view text);

/// The whole program but main(): parses, runs, reports errors (one line on standard error; with
/// --json also an object on standard output), returns the exit code.
int run_command_line(std::span<const char* const> arguments, const Streams& streams);

}  // namespace quern::cli
