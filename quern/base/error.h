#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace quern {

/// The process exit codes of the command line contract.
enum class ExitCode : int { kDone = 0, kFailed = 1, kUsage = 2, kFound = 3 };

/// Base of every exception Quern throws on purpose. `what()` says what went wrong and where;
/// `hint()` what to do about it. `code()` is a stable, lower-case identifier for programs
/// ("file_missing").
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, std::string hint = {},
        ExitCode exit_code = ExitCode::kFailed)
      : std::runtime_error(message),
        code_(std::move(code)),
        hint_(std::move(hint)),
        exit_code_(exit_code) {}

  const std::string& code() const { return code_; }
  const std::string& hint() const { return hint_; }
  ExitCode exit_code() const { return exit_code_; }

 private:
  std::string code_;
  std::string hint_;
  ExitCode exit_code_;
};

/// A command line or a configuration that cannot be meant. Exits with 2.
class UsageError : public Error {
 public:
  UsageError(std::string code, const std::string& message, std::string hint = {})
      : Error(std::move(code), message, std::move(hint), ExitCode::kUsage) {}
};

/// Foreign bytes that are not what they claim to be (a file format, an encoding).
class FormatError : public Error {
 public:
  explicit FormatError(const std::string& message, std::string hint = {})
      : Error("bad_format", message, std::move(hint)) {}
};

/// The operating system refused: open, read, write, rename, map. Codes: file_missing, is_a_folder,
/// no_permission, disk_full, io (anything else).
class IoError : public Error {
 public:
  explicit IoError(const std::string& message, std::string hint = {}, std::string code = "io")
      : Error(std::move(code), message, std::move(hint)) {}
};

/// Tensors that do not fit an op. The message names the op, the shapes and the rule.
class ShapeError : public Error {
 public:
  explicit ShapeError(const std::string& message, std::string hint = {})
      : Error("shape", message, std::move(hint)) {}
};

}  // namespace quern
