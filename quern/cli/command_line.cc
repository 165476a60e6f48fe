#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/cli/command.h"
#include "quern/cli/terminal_reporter.h"
#include "quern/formats/json.h"

namespace quern::cli {
namespace {

constexpr std::string_view kVersion = QUERN_VERSION;

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const Command& command : commands()) names.emplace_back(command.name);
  return names;
}

std::string general_help() {
  std::string text =
      "quern turns your own data into a trained transformer and uses it.\n\n"
      "usage: quern COMMAND [ARGUMENTS]\n\ncommands:\n";
  for (const Command& command : commands()) {
    text += fmt::format("  {:<12}{}\n", command.name, command.summary);
  }
  text +=
      "\nevery command takes:\n"
      "  --help             what it does and its options\n"
      "  --json             one JSON object on standard output\n"
      "  --quiet            no notes, no progress\n"
      "  --threads N        threads to use; 0: all\n"
      "  --seed N           fixes every random choice\n"
      "  --device D         auto, cpu or cuda\n"
      "  --config FILE      configuration keys from a TOML file\n"
      "  --set KEY=VALUE    one configuration key (`quern options` lists them)\n"
      "\nquern --version prints the version.\n";
  return text;
}

/// Options shared by every command, read in the order: configuration files, --set, flags.
struct CommonFlags {
  bool json = false;
  bool quiet = false;
  std::vector<std::string> configurations;
  std::vector<std::string> assignments;
};

void declare_common(Arguments& arguments, Invocation& invocation, CommonFlags& flags) {
  const std::string group = "Common options";
  arguments.flag("--json", flags.json, "One JSON object on standard output, nothing else there")
      .group(group);
  arguments.flag("--quiet", flags.quiet, "No notes, no progress").group(group);
  for (const char* key : {"threads", "seed", "device"})
    add_option_flag(arguments, invocation, fmt::format("--{}", key), key).group(group);
  arguments.value("--config", flags.configurations, "Configuration keys from a TOML file")
      .type_name("FILE")
      .repeated()
      .group(group);
  arguments.value("--set", flags.assignments, "One configuration key")
      .type_name("KEY=VALUE")
      .repeated()
      .group(group);
}

/// Long and short names of the options of an app and of the subcommands that were chosen.
void collect_names(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  for (const CLI::App* sub : app.get_subcommands()) collect_names(*sub, names);
}

[[noreturn]] void refuse_extras(const CLI::App& app, std::string_view command) {
  const std::vector<std::string> extras = app.remaining(true);
  const auto unknown = std::find_if(extras.begin(), extras.end(), [](const std::string& text) {
    return text.size() > 1 && text.starts_with('-');
  });
  if (unknown == extras.end()) {
    std::vector<std::string> subcommands;
    for (const CLI::App* sub : app.get_subcommands({})) subcommands.push_back(sub->get_name());
    const std::string extra = extras.empty() ? "" : extras.front();
    const auto near = nearest(extra, subcommands);
    throw UsageError("unexpected_argument",
                     fmt::format("{}: unexpected argument '{}'", command, extra),
                     near ? fmt::format("did you mean '{}'?", *near)
                          : fmt::format("see quern {} --help", command));
  }
  const std::string name = unknown->substr(0, unknown->find('='));
  std::vector<std::string> names;
  collect_names(app, names);
  const auto near = nearest(name, names);
  throw UsageError("unknown_option", fmt::format("{}: unknown option '{}'", command, name),
                   near ? fmt::format("did you mean '{}'?", *near)
                        : fmt::format("see quern {} --help", command));
}

kernels::cuda::Precision precision_of(const run::Options& options) {
  using enum kernels::cuda::Precision;
  const std::string_view precision = options.text("precision");
  return precision == "bf16" ? kBf16 : precision == "tf32" ? kTf32 : kFloat32;
}

/// Where the command's name stands: the first argument that is neither a flag nor a flag's value.
std::optional<size_t> find_command(std::span<const char* const> arguments) {
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--threads" || argument == "--seed" || argument == "--device" ||
        argument == "--config" || argument == "--set") {
      ++i;
    } else if (!argument.starts_with('-') || argument == "-") {
      return i;
    }
  }
  return std::nullopt;
}

bool has_flag(std::span<const char* const> arguments, std::string_view flag) {
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (std::string_view(arguments[i]) == "--") return false;
    if (arguments[i] == flag) return true;
  }
  return false;
}

void print_text(const Invocation& invocation, std::string_view name, const std::string& text) {
  if (invocation.json) {
    invocation.print(nlohmann::json{{name, std::string(trim(text))}}.dump() + "\n");
  } else {
    invocation.print(text);
  }
}

int run_without_command(std::span<const char* const> arguments, const Invocation& invocation) {
  if (has_flag(arguments, "--version")) {
    print_text(invocation, "version",
               invocation.json ? std::string(kVersion) : fmt::format("quern {}\n", kVersion));
    return 0;
  }
  if (has_flag(arguments, "--help") || has_flag(arguments, "-h")) {
    print_text(invocation, "help", general_help());
    return 0;
  }
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string name(arguments[i]);
    const std::vector<std::string> known = {"--version", "--help", "--json"};
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const auto near = nearest(name, known);
    throw UsageError("unknown_option", fmt::format("unknown option '{}'", name),
                     near ? fmt::format("did you mean '{}'?", *near) : "see quern --help");
  }
  throw UsageError("no_command", "no command given", "see quern --help");
}

int run_command(const Command& command, std::vector<std::string> arguments,
                Invocation& invocation) {
  CLI::App app(std::string(command.summary), fmt::format("quern {}", command.name));
  app.fallthrough();
  CommonFlags flags;
  Arguments declared(app);
  declare_common(declared, invocation, flags);
  const Action action = command.declare(declared, invocation);
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    print_text(invocation, "help", app.help());
    return 0;
  } catch (const CLI::ExtrasError&) {
    refuse_extras(app, command.name);
  } catch (const CLI::ParseError& error) {
    if (app.remaining_size(true) > 0) refuse_extras(app, command.name);
    throw UsageError("bad_usage", fmt::format("{}: {}", command.name, error.what()),
                     fmt::format("see quern {} --help", command.name));
  }
  for (const std::string& file : flags.configurations) invocation.options.load(file);
  for (const std::string& assignment : flags.assignments) invocation.options.assign(assignment);
  for (const auto& [key, value, flag] : invocation.flag_values) {
    invocation.options.set(key, value, run::Layer::kExplicit, flag);
  }
  if (invocation.options.text("device") == "cuda") {
    const kernels::cuda::Precision precision = precision_of(invocation.options);
    const bool stochastic = invocation.options.boolean("stochastic_rounding");
    if (stochastic && precision != kernels::cuda::Precision::kBf16) {
      throw UsageError("bad_value", "stochastic_rounding = true rounds weights to bfloat16",
                       "add --set precision=bf16, or leave it out");
    }
    invocation.gpu = invocation.open_gpu ? invocation.open_gpu(precision, stochastic)
                                         : kernels::cuda::open_gpu(precision, stochastic);
    invocation.reporter->note("device: " + invocation.gpu->driver().describe());
  }
  return action(invocation);
}

int report_error(const Invocation& invocation, const std::string& code, const std::string& message,
                 const std::string& hint, ExitCode exit_code) {
  std::string line = fmt::format("quern: {}{}{}", message, hint.empty() ? "" : "; ", hint);
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(invocation.streams.error, "%s\n", line.c_str());
  if (invocation.json) {
    const std::string text =
        formats::json_text({{"error", {{"code", code}, {"hint", hint}, {"message", message}}}});
    std::fwrite(text.data(), 1, text.size(), invocation.streams.out);
    std::fflush(invocation.streams.out);
  }
  return static_cast<int>(exit_code);
}

}  // namespace

void Invocation::print(std::string_view text) const {
  if (before_print) before_print();
  if (std::fwrite(text.data(), 1, text.size(), streams.out) != text.size() ||
      std::fflush(streams.out) != 0) {
    throw IoError("standard output: cannot write", "is the disk full?");
  }
}

Argument add_option_flag(Arguments& arguments, Invocation& invocation, const std::string& flag,
                         std::string_view key) {
  const run::OptionInfo* info = run::find_option(key);
  if (info == nullptr) throw Error("internal", fmt::format("no configuration key {}", key));
  const std::string help = info->accepted.empty()
                               ? std::string(info->help)
                               : fmt::format("{} ({})", info->help, info->accepted);
  const auto note = [&invocation, name = std::string(key), flag](const std::string& value) {
    invocation.flag_values.push_back({name, value, flag});
  };
  if (info->type == run::OptionType::kBoolean)
    return arguments.flag(
        flag, [note] { note("true"); }, help);
  return arguments.value(flag, note, help)
      .type_name(info->type == run::OptionType::kInteger ? "N" : "VALUE");
}

void add_option_flags(Arguments& arguments, Invocation& invocation,
                      std::initializer_list<std::pair<const char*, const char*>> flags) {
  for (const auto& [flag, key] : flags) add_option_flag(arguments, invocation, flag, key);
}

void add_table_flag(Arguments& arguments, Invocation& invocation) {
  add_option_flag(arguments, invocation, "--table", "data.table");
}

data::TableOptions table_options(const Invocation& invocation) {
  return {.table = std::string(invocation.options.text("data.table"))};
}

std::string read_input(const Invocation& invocation, const std::string& path) {
  if (path != "-") return read_file(path);
  std::string text;
  char buffer[1 << 16];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof(buffer), invocation.streams.in)) > 0) {
    text.append(buffer, count);
  }
  if (std::ferror(invocation.streams.in) != 0) throw IoError("standard input: cannot read");
  return text;
}

void write_output(const Invocation& invocation, const std::string& path, std::string_view text) {
  if (path == "-") {
    invocation.print(text);
  } else {
    write_file(path, text);
  }
}

int run_command_line(std::span<const char* const> arguments, const Streams& streams) {
  Invocation invocation;
  invocation.streams = streams;
  invocation.json = has_flag(arguments, "--json");
  invocation.quiet = has_flag(arguments, "--quiet");
  TerminalReporter terminal(streams.error, streams.error_is_terminal);
  invocation.reporter = invocation.quiet ? &silent_reporter() : &terminal;
  invocation.before_print = [&terminal] { terminal.clear(); };
  const auto fail = [&](const std::string& code, const std::string& message,
                        const std::string& hint, ExitCode exit_code) {
    terminal.end_line();
    const int reported = report_error(invocation, code, message, hint, exit_code);
    if (invocation.on_failure) invocation.on_failure(reported);
    return reported;
  };
  try {
    const std::optional<size_t> position = find_command(arguments);
    if (!position) return run_without_command(arguments, invocation);
    const std::string name = arguments[*position];
    for (const Command& command : commands()) {
      if (command.name != name) continue;
      std::vector<std::string> rest;
      for (size_t i = 1; i < arguments.size(); ++i) {
        if (i != *position) rest.emplace_back(arguments[i]);
      }
      return run_command(command, std::move(rest), invocation);
    }
    const auto near = nearest(name, command_names());
    throw UsageError("unknown_command", fmt::format("unknown command '{}'", name),
                     near ? fmt::format("did you mean '{}'?", *near) : "see quern --help");
  } catch (const Error& error) {
    return fail(error.code(), error.what(), error.hint(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return fail("out_of_memory", "out of memory", "try --size small", ExitCode::kFailed);
  } catch (const std::exception& error) {
    return fail("internal", error.what(), "", ExitCode::kFailed);
  }
}

}  // namespace quern::cli
