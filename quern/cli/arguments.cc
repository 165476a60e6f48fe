#include "quern/cli/arguments.h"

#include <CLI/CLI.hpp>

namespace quern::cli {

Argument& Argument::required() {
  option_->required();
  return *this;
}

Argument& Argument::between(int64_t low, int64_t high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Argument& Argument::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}

Argument& Argument::not_negative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}

Argument& Argument::one_of(std::initializer_list<const char*> words) {
  option_->check(CLI::IsMember(std::vector<std::string>(words.begin(), words.end())));
  return *this;
}

Argument& Argument::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

Argument& Argument::show_default() {
  option_->capture_default_str();
  return *this;
}

Argument& Argument::repeated() {
  option_->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Argument& Argument::group(const std::string& heading) {
  option_->group(heading);
  return *this;
}

Argument Arguments::value(const std::string& name, std::string& variable, const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name, std::vector<std::string>& variable,
                          const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name, int64_t& variable, const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name, std::optional<int64_t>& variable,
                          const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name, size_t& variable, const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name, double& variable, const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name, float& variable, const std::string& help) {
  return Argument(app_->add_option(name, variable, help));
}

Argument Arguments::value(const std::string& name,
                          const std::function<void(const std::string&)>& take,
                          const std::string& help) {
  return Argument(app_->add_option_function<std::string>(name, take, help));
}

Argument Arguments::flag(const std::string& name, bool& variable, const std::string& help) {
  return Argument(app_->add_flag(name, variable, help));
}

Argument Arguments::flag(const std::string& name, std::function<void()> take,
                         const std::string& help) {
  return Argument(app_->add_flag_function(
      name, [take = std::move(take)](int64_t) { take(); }, help));
}

Arguments Arguments::subcommand(const std::string& name, const std::string& help) {
  app_->require_subcommand(1);
  return Arguments(*app_->add_subcommand(name, help)->fallthrough());
}

bool Arguments::given() const { return app_->parsed(); }

void Arguments::footer(const std::string& text) { app_->footer(text); }

}  // namespace quern::cli
