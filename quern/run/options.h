#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"

namespace quern::run {

enum class OptionType : uint8_t {
  kText,
  kChoice,
  kInteger,
  kNumber,
  kBoolean,
  kDuration,
  kBytes,
  kTable
};

/// One configuration key. `fallback` "auto" means that the preset, the size or the data decides.
struct OptionInfo {
  std::string_view key;  // "train.learning_rate"
  OptionType type;
  std::string_view fallback;
  std::string_view help;
  std::string_view accepted = {};   // kChoice: words between '|'; else a description for people
  double minimum = 0, maximum = 0;  // kInteger, kNumber: where maximum > minimum
  std::string_view tasks = {};      // tasks that read it, by space; empty: all
  bool zero_is_auto = false;
};

/// The one table of all keys, in the order in which the resolved file shows them.
std::span<const OptionInfo> option_table();
/// Nothing when unknown.
const OptionInfo* find_option(std::string_view key);
/// The table as Markdown, for the documentation.
std::string options_markdown();

/// Who decides, weakest first: a value is replaced only by a layer at least as strong.
enum class Layer : uint8_t { kDefault, kData, kSize, kPreset, kExplicit };

/// The value of every key, each with who decided it. Values are checked when set: UsageError names
/// the key, the value, what is accepted, and where it was written.
class Options {
 public:
  Options();

  /// Sets a value as text. `who` says who decided ("--steps", "run.toml:12", "size small").
  /// "auto" for a key whose default is auto undoes what the same layer said.
  void set(std::string_view key, std::string_view value, Layer layer, std::string_view who);
  void set(std::string_view key, int64_t value, Layer layer, std::string_view who);
  void set(std::string_view key, double value, Layer layer, std::string_view who);
  /// "section.key=value" (of --set). Throws UsageError, naming the nearest key when unknown.
  void assign(std::string_view assignment);
  /// All keys of a TOML file, as explicit.
  void load(const fs::path& toml_file);
  void parse(std::string_view toml, std::string_view where);

  std::string_view text(std::string_view key) const;
  int64_t integer(std::string_view key) const;
  double number(std::string_view key) const;
  bool boolean(std::string_view key) const;
  /// Seconds and bytes; 0 where empty.
  double duration(std::string_view key) const;
  uint64_t bytes(std::string_view key) const;
  Layer layer(std::string_view key) const;
  std::string_view who(std::string_view key) const;
  bool is_explicit(std::string_view key) const { return layer(key) == Layer::kExplicit; }
  bool is_auto(std::string_view key) const { return text(key) == "auto"; }

  /// Throws UsageError at the first explicit key that the task does not read: no key is ignored.
  void refuse_unused(std::string_view task) const;

  /// Every value in force, with who decided it as a comment.
  std::string to_toml() const;
  /// Reads what to_toml() wrote, who decided included.
  static Options from_resolved(std::string_view toml, std::string_view where);

 private:
  struct Entry {
    std::string text;
    Layer layer = Layer::kDefault;
    std::string who;
  };
  const Entry& entry(std::string_view key) const;
  std::vector<Entry> entries_;
};

}  // namespace quern::run
