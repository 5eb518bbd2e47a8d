// JSON output: text is built front to back, without a tree. What comes out is always valid UTF-8: bytes of a string
// that are not are replaced by U+FFFD, as Go's encoder does. Any thread.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace davit::json {

// Appends text as a JSON string with its quotes.
void append_quoted(std::string& out, std::string_view text);

// Usage: w.begin_object(); w.key("id"); w.value("x"); w.end_object(); then take(). The caller keeps the calls balanced.
class Writer {
 public:
  // indent: "" for one line, else what is put before each line per level ("  ", "\t").
  explicit Writer(std::string_view indent = {}) : indent_(indent) {}

  Writer& begin_object() { return open('{'); }
  Writer& end_object() { return close('}'); }
  Writer& begin_array() { return open('['); }
  Writer& end_array() { return close(']'); }
  Writer& key(std::string_view name);

  Writer& value(std::string_view text);
  Writer& value(char const* text) { return value(std::string_view(text)); }
  Writer& value(std::string const& text) { return value(std::string_view(text)); }
  Writer& value(bool flag) { return raw(flag ? "true" : "false"); }
  template <std::integral T>
  requires(!std::same_as<T, bool>) Writer& value(T number) { return raw(std::to_string(number)); }
  Writer& null() { return raw("null"); }
  // A value that is JSON already.
  Writer& raw(std::string_view json);

  // key and value in one; a range becomes an array.
  template <typename T>
  Writer& field(std::string_view name, T const& item) {
    key(name);
    return put(item);
  }

  std::string const& text() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  template <typename T>
  Writer& put(T const& item) {
    if constexpr (requires { this->value(item); }) {
      return value(item);
    } else {
      begin_array();
      for (auto const& each : item) put(each);
      return end_array();
    }
  }
  Writer& open(char bracket);
  Writer& close(char bracket);
  void before_item();
  void new_line();

  std::string out_;
  std::string indent_;
  int depth_ = 0;
  bool first_ = true;  // nothing yet in the innermost object or array
  bool after_key_ = false;
};

// One object, member by member: Object().add("id", id).add_raw("list", "[1]").text().
class Object {
 public:
  Object() { writer_.begin_object(); }
  template <typename T>
  Object& add(std::string_view name, T const& value) {
    writer_.field(name, value);
    return *this;
  }
  // value is JSON already.
  Object& add_raw(std::string_view name, std::string_view value) {
    writer_.key(name).raw(value);
    return *this;
  }
  std::string text() const { return writer_.text() + "}"; }

 private:
  Writer writer_;
};

}  // namespace davit::json
