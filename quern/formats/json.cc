#include "quern/formats/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "quern/base/error.h"

namespace quern::formats {
namespace {

using nlohmann::json;

// Builds the value while it is read, so that a limit stops the parser rather than follows it.
class Builder {
 public:
  Builder(std::string_view text, std::string_view where, int depth)
      : text_(text), where_(where), depth_(depth) {}

  json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(size_t) { return open(json::object()); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    const auto [slot, fresh] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!fresh) {
      throw FormatError(std::string(where_) + ": the key \"" + shortened(name) +
                        "\" occurs twice in one object");
    }
    slot_ = &slot->second;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const json::exception& error) {
    // The parser counts the bytes it has read, the offending one included.
    const size_t offset = std::min(position == 0 ? 0 : position - 1, text_.size());
    const std::string_view before = text_.substr(0, offset);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t line_start = before.rfind('\n') + 1;
    throw FormatError(std::string(where_) + ": not valid JSON at line " + std::to_string(line) +
                      ", column " + std::to_string(offset - line_start + 1) + " (byte " +
                      std::to_string(offset) + "): " + reason(error.what()));
  }

 private:
  static std::string shortened(const std::string& name) {
    return name.size() <= 100 ? name : name.substr(0, 100) + "...";
  }

  // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ..."
  static std::string reason(std::string_view what) {
    const size_t colon = what.find(": ");
    if (what.find("parse error at") != std::string_view::npos && colon != std::string_view::npos) {
      what.remove_prefix(colon + 2);
    } else if (const size_t end = what.find("] "); end != std::string_view::npos) {
      what.remove_prefix(end + 2);
    }
    return std::string(what.substr(0, 200));
  }

  json* place(json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_object()) {
      *slot_ = std::move(value);
      return slot_;
    }
    auto& array = open_.back()->get_ref<json::array_t&>();
    array.push_back(std::move(value));
    return &array.back();
  }
  bool add(json value) {
    place(std::move(value));
    return true;
  }
  bool open(json&& container) {
    if (open_.size() >= static_cast<size_t>(depth_)) {
      throw FormatError(std::string(where_) + ": nested deeper than " + std::to_string(depth_) +
                        " levels");
    }
    // Stays valid while it is open: a parent grows only after its child is closed.
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  std::string_view where_;
  int depth_;
  json root_;
  json* slot_ = nullptr;
  std::vector<json*> open_;
};

}  // namespace

json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    throw FormatError(std::string(where) + ": " + std::to_string(text.size()) +
                      " bytes of JSON, more than the " + std::to_string(limits.bytes) +
                      " that are read");
  }
  Builder builder(text, where, limits.depth);
  json::sax_parse(text, &builder);
  return builder.take();
}

std::string json_text(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace quern::formats
