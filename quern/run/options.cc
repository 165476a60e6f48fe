#include "quern/run/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "quern/base/error.h"
#include "quern/base/strings.h"

// toml++ 3.3 asserts, and in release builds assumes, what malformed input breaks ("[=a]"): here a
// broken assertion is an exception in every build.
#undef NDEBUG
#define TOML_ASSERT(expression) ((expression) ? void() : throw std::invalid_argument("malformed"))
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wterminate"  // assertions of noexcept functions still end it
#endif
#include <toml++/toml.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace quern::run {
namespace {

[[noreturn]] void refuse(const OptionInfo& info, std::string_view value, std::string_view who,
                         std::string_view rule) {
  throw UsageError("bad_value",
                   fmt::format("{} = '{}' ({}): {}", info.key, value.substr(0, 80), who, rule));
}

template <typename Number>
Number parse_number(const OptionInfo& info, std::string_view text, std::string_view who) {
  std::string digits;
  for (char c : text) {
    if (c != '_') digits += c;
  }
  Number value{};
  const char* begin = digits.data() + (digits.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, digits.data() + digits.size(), value);
  bool bad = error != std::errc() || end != digits.data() + digits.size();
  if constexpr (std::is_floating_point_v<Number>) bad = bad || !std::isfinite(value);
  if (bad) {
    refuse(info, text, who,
           std::is_integral_v<Number> ? "a whole number is needed" : "a number is needed");
  }
  const auto real = static_cast<double>(value);
  if (info.maximum > info.minimum && (real < info.minimum || real > info.maximum)) {
    refuse(info, text, who, fmt::format("must be from {} to {}", info.minimum, info.maximum));
  }
  return value;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

/// "age = number, city = category", every name and type quoted.
std::string table_text(const OptionInfo& info, std::string_view value, std::string_view who) {
  value = trim(value);
  if (value.starts_with('{') && value.ends_with('}')) value = value.substr(1, value.size() - 2);
  std::string out;
  if (trim(value).empty()) return out;
  for (const std::string& part : split_outside_quotes(value, ',')) {
    const std::vector<std::string> sides = split_outside_quotes(part, '=');
    if (sides.size() != 2) refuse(info, value, who, "write NAME = TYPE, NAME = TYPE");
    out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", quote(unquote(sides[0])),
                       quote(unquote(sides[1])));
  }
  return out;
}

/// Checks a value and returns it in its canonical spelling.
std::string check(const OptionInfo& info, std::string_view value, std::string_view who) {
  if (value == "auto" && info.fallback == "auto") return "auto";
  switch (info.type) {
    case OptionType::kInteger:
      return fmt::format("{}", parse_number<int64_t>(info, value, who));
    case OptionType::kNumber:
      return fmt::format("{}", parse_number<double>(info, value, who));
    case OptionType::kBoolean:
      if (value == "true" || value == "false") return std::string(value);
      refuse(info, value, who, "true or false is needed");
    case OptionType::kChoice: {
      const std::vector<std::string> words = split(info.accepted, '|');
      if (std::find(words.begin(), words.end(), value) != words.end()) return std::string(value);
      const auto near = nearest(value, words);
      refuse(info, value, who,
             fmt::format("accepted: {}{}", fmt::join(words, ", "),
                         near ? fmt::format("; did you mean '{}'?", *near) : ""));
    }
    case OptionType::kDuration:
      if (!value.empty() && !(parse_duration(value) > 0)) {
        refuse(info, value, who, "must be longer than nothing");
      }
      return std::string(value);
    case OptionType::kBytes:
      if (!value.empty() && parse_bytes(value) == 0) refuse(info, value, who, "must be above 0");
      return std::string(value);
    case OptionType::kTable:
      return table_text(info, value, who);
    case OptionType::kText:
      return std::string(value);
  }
  return {};
}

constexpr std::string_view kLayerNames[] = {"default", "data", "size", "preset", "explicit"};

size_t index_of(const OptionInfo& info) {
  return static_cast<size_t>(&info - option_table().data());
}

[[noreturn]] void unknown_key(std::string_view key, std::string_view where) {
  std::vector<std::string> keys;
  std::vector<std::string> leaves;
  for (const OptionInfo& info : option_table()) {
    keys.emplace_back(info.key);
    leaves.emplace_back(info.key.substr(info.key.find('.') + 1));
  }
  std::optional<std::string> near = nearest(key, keys);
  if (!near) {  // the right name in the wrong section, or in none
    const std::string_view leaf = key.substr(key.rfind('.') + 1);
    if (const auto found = nearest(leaf, leaves)) {
      near = keys[static_cast<size_t>(std::find(leaves.begin(), leaves.end(), *found) -
                                      leaves.begin())];
    }
  }
  throw UsageError(
      "unknown_key", fmt::format("unknown configuration key '{}' ({})", key.substr(0, 80), where),
      near ? fmt::format("did you mean '{}'?", *near) : "`quern options` lists all keys");
}

void visit(const toml::table& table, const std::string& prefix, std::string_view where,
           Options& options) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    const std::string at = fmt::format("{}:{}", where, node.source().begin.line);
    const OptionInfo* info = find_option(key);
    if (const toml::table* inner = node.as_table()) {
      const bool section =
          std::any_of(option_table().begin(), option_table().end(),
                      [&](const OptionInfo& o) { return o.key.starts_with(key + "."); });
      if (info != nullptr && info->type == OptionType::kTable) {
        for (const auto& [column, type] : *inner) {
          if (!type.is_string()) refuse(*info, column.str(), at, "a type's name is needed");
          options.set(key + "." + std::string(column.str()), type.ref<std::string>(),
                      Layer::kExplicit, at);
        }
      } else if (section && prefix.empty()) {
        visit(*inner, key + ".", where, options);
      } else {
        unknown_key(key, at);
      }
      continue;
    }
    if (info == nullptr) unknown_key(key, at);
    if (const auto* text = node.as_string()) {
      options.set(key, text->get(), Layer::kExplicit, at);
    } else if (const auto* integer = node.as_integer()) {
      options.set(key, fmt::format("{}", integer->get()), Layer::kExplicit, at);
    } else if (const auto* real = node.as_floating_point()) {
      options.set(key, fmt::format("{}", real->get()), Layer::kExplicit, at);
    } else if (const auto* boolean = node.as_boolean()) {
      options.set(key, boolean->get() ? "true" : "false", Layer::kExplicit, at);
    } else {
      refuse(*info, "…", at, "lists and dates have no meaning here");
    }
  }
}

/// toml++ 3.3 runs into undefined behaviour at characters beyond ASCII outside of strings and
/// comments, where TOML has none. No value here spans lines, so a line is looked at by itself.
void check_characters(std::string_view toml, std::string_view where) {
  size_t number = 0;
  for (const std::string& line : split(toml, '\n')) {
    ++number;
    char quote = 0;
    for (size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      if (quote != 0) {
        if (c == '\\' && quote == '"') {
          ++i;
        } else if (c == quote) {
          quote = 0;
        }
      } else if (c == '#') {
        break;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        throw UsageError("bad_configuration",
                         fmt::format("{}:{}:{}: a character beyond ASCII outside of quotes", where,
                                     number, i + 1),
                         "put the text in quotes");
      }
    }
    if (quote != 0) {
      throw UsageError("bad_configuration",
                       fmt::format("{}:{}: a text does not end on its line", where, number),
                       "close the quotes");
    }
  }
}

toml::table parse_toml(std::string_view toml, std::string_view where) {
  if (toml.starts_with("\xEF\xBB\xBF")) toml.remove_prefix(3);
  check_characters(toml, where);
  try {
    return toml::parse(toml);
  } catch (const toml::parse_error& error) {
    throw UsageError("bad_configuration",
                     fmt::format("{}:{}:{}: {}", where, error.source().begin.line,
                                 error.source().begin.column, error.description()));
  } catch (const std::invalid_argument&) {
    throw UsageError("bad_configuration", fmt::format("{}: not TOML", where),
                     "write key = value, under [section]");
  }
}

}  // namespace

Options::Options() {
  for (const OptionInfo& info : option_table()) {
    entries_.push_back({std::string(info.fallback), Layer::kDefault, "default"});
  }
}

void Options::set(std::string_view key, std::string_view value, Layer layer, std::string_view who) {
  const OptionInfo* info = find_option(key);
  if (info == nullptr && key.starts_with("data.types.")) {
    Entry& types = entries_[index_of(*find_option("data.types"))];
    types.text += fmt::format("{}{} = {}", types.text.empty() ? "" : ", ",
                              quote(key.substr(sizeof("data.types.") - 1)), quote(value));
    types.layer = layer;
    types.who = who;
    return;
  }
  if (info == nullptr) unknown_key(key, who);
  Entry& entry = entries_[index_of(*info)];
  std::string checked = check(*info, value, who);
  if (info->zero_is_auto && checked == "0") checked = "auto";
  if (layer < entry.layer) return;
  if (checked == "auto" && info->fallback == "auto") {
    entry = {std::move(checked), Layer::kDefault, "default"};
  } else {
    entry = {std::move(checked), layer, std::string(who)};
  }
}

void Options::set(std::string_view key, int64_t value, Layer layer, std::string_view who) {
  set(key, fmt::format("{}", value), layer, who);
}

void Options::set(std::string_view key, double value, Layer layer, std::string_view who) {
  set(key, fmt::format("{}", value), layer, who);
}

void Options::assign(std::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    throw UsageError("bad_value", fmt::format("--set {}: no '='", assignment.substr(0, 80)),
                     "write --set section.key=value");
  }
  std::string_view value = trim(assignment.substr(equals + 1));
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    value = value.substr(1, value.size() - 2);
  }
  set(trim(assignment.substr(0, equals)), value, Layer::kExplicit, "--set");
}

void Options::load(const fs::path& toml_file) { parse(read_file(toml_file), toml_file.string()); }

void Options::parse(std::string_view toml, std::string_view where) {
  visit(parse_toml(toml, where), "", where, *this);
}

const Options::Entry& Options::entry(std::string_view key) const {
  const OptionInfo* info = find_option(key);
  if (info == nullptr) unknown_key(key, "asked for by the program");
  return entries_[index_of(*info)];
}

std::string_view Options::text(std::string_view key) const { return entry(key).text; }

int64_t Options::integer(std::string_view key) const {
  return parse_number<int64_t>(*find_option(key), entry(key).text, who(key));
}

double Options::number(std::string_view key) const {
  return parse_number<double>(*find_option(key), entry(key).text, who(key));
}

bool Options::boolean(std::string_view key) const { return entry(key).text == "true"; }

double Options::duration(std::string_view key) const {
  const std::string& value = entry(key).text;
  return value.empty() ? 0 : parse_duration(value);
}

uint64_t Options::bytes(std::string_view key) const {
  const std::string& value = entry(key).text;
  return value.empty() ? 0 : parse_bytes(value);
}

Layer Options::layer(std::string_view key) const { return entry(key).layer; }
std::string_view Options::who(std::string_view key) const { return entry(key).who; }

void Options::refuse_unused(std::string_view task) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const OptionInfo& info = option_table()[i];
    if (info.tasks.empty() || entries_[i].layer != Layer::kExplicit ||
        entries_[i].text == info.fallback) {
      continue;
    }
    const std::vector<std::string> tasks = split(info.tasks, ' ');
    if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) {
      throw UsageError("unused_key",
                       fmt::format("{} = '{}' ({}) has no meaning for the task {}", info.key,
                                   entries_[i].text, entries_[i].who, task),
                       fmt::format("leave it out; it belongs to: {}", fmt::join(tasks, ", ")));
    }
  }
}

std::string Options::to_toml() const {
  std::string out;
  std::string section;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const OptionInfo& info = option_table()[i];
    const Entry& entry = entries_[i];
    const size_t dot = info.key.find('.');
    const std::string_view leaf =
        dot == std::string_view::npos ? info.key : info.key.substr(dot + 1);
    if (dot != std::string_view::npos && info.key.substr(0, dot) != section) {
      section = info.key.substr(0, dot);
      out += fmt::format("\n[{}]\n", section);
    }
    const bool bare = entry.text != "auto" &&
                      (info.type == OptionType::kInteger || info.type == OptionType::kNumber ||
                       info.type == OptionType::kBoolean);
    std::string value = bare                              ? entry.text
                        : info.type == OptionType::kTable ? "{" + entry.text + "}"
                                                          : quote(entry.text);
    const std::string_view layer = kLayerNames[static_cast<size_t>(entry.layer)];
    std::string who = entry.layer == Layer::kDefault ? std::string(layer)
                                                     : fmt::format("{}: {}", layer, entry.who);
    std::replace_if(
        who.begin(), who.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    out += fmt::format("{:<32}# {}\n", fmt::format("{} = {} ", leaf, value), who);
  }
  return out;
}

Options Options::from_resolved(std::string_view toml, std::string_view where) {
  Options options;
  options.parse(toml, where);
  const std::vector<std::string> lines = split(toml, '\n');
  for (Entry& entry : options.entries_) {
    const size_t colon = entry.who.rfind(':');
    if (entry.layer != Layer::kExplicit || colon == std::string::npos) continue;
    const size_t line = std::stoul(entry.who.substr(colon + 1)) - 1;
    const size_t comment = lines.at(line).rfind(" # ");
    if (comment == std::string::npos) continue;
    const std::string_view said = std::string_view(lines[line]).substr(comment + 3);
    for (size_t layer = 0; layer < std::size(kLayerNames); ++layer) {
      if (!said.starts_with(kLayerNames[layer])) continue;
      entry.layer = static_cast<Layer>(layer);
      entry.who = layer == 0 ? said : trim(said.substr(kLayerNames[layer].size() + 1));
    }
  }
  return options;
}

}  // namespace quern::run
