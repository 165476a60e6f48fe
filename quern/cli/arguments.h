#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

/// What a command declares of its arguments. CLI11 reads them; it is a header of templates that
/// takes longer to compile than most commands do, so only arguments.cc and command_line.cc include
/// it.
namespace quern::cli {

/// One argument; each call refines it and returns it.
class Argument {
 public:
  explicit Argument(CLI::Option* option) : option_(option) {}

  Argument& required();
  /// Numbers outside are refused.
  Argument& between(int64_t low, int64_t high);
  Argument& positive();
  Argument& not_negative();
  /// Other words are refused.
  Argument& one_of(std::initializer_list<const char*> words);
  /// What the help calls the value.
  Argument& type_name(const std::string& name);
  /// The help names the value that the variable has now.
  Argument& show_default();
  /// Takes one value each time that it is given, and keeps all.
  Argument& repeated();
  /// The heading of the help under which it stands.
  Argument& group(const std::string& heading);

 private:
  CLI::Option* option_;
};

/// The arguments of a command or subcommand. A view: the CLI::App must outlive it.
class Arguments {
 public:
  explicit Arguments(CLI::App& app) : app_(&app) {}

  /// "--name", "-n,--name", or "NAME" for one without a flag. The variable, which must outlive the
  /// parse, keeps its value where the argument is not given.
  Argument value(const std::string& name, std::string& variable, const std::string& help);
  Argument value(const std::string& name, std::vector<std::string>& variable,
                 const std::string& help);
  Argument value(const std::string& name, int64_t& variable, const std::string& help);
  Argument value(const std::string& name, std::optional<int64_t>& variable,
                 const std::string& help);
  Argument value(const std::string& name, size_t& variable, const std::string& help);
  Argument value(const std::string& name, double& variable, const std::string& help);
  Argument value(const std::string& name, float& variable, const std::string& help);
  /// Calls `take` with the value, where it is given.
  Argument value(const std::string& name, const std::function<void(const std::string&)>& take,
                 const std::string& help);
  /// True where it is given; of "!--name": false.
  Argument flag(const std::string& name, bool& variable, const std::string& help);
  /// Calls `take`, where it is given.
  Argument flag(const std::string& name, std::function<void()> take, const std::string& help);

  /// One of the subcommands must be given.
  Arguments subcommand(const std::string& name, const std::string& help);
  /// Whether this subcommand was given.
  bool given() const;
  /// The last line of the help.
  void footer(const std::string& text);

 private:
  CLI::App* app_;
};

}  // namespace quern::cli
