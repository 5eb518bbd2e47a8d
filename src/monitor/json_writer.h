// Small JSON objects without a library, which would cost every monitor memory. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace davit::monitor {

// One object: JsonWriter json; json.add("id", id); json.text()
class JsonWriter {
 public:
  JsonWriter& add(std::string_view name, std::string_view value);
  JsonWriter& add(std::string_view name, char const* value) { return add(name, std::string_view(value)); }
  JsonWriter& add(std::string_view name, std::int64_t value) { return add_raw(name, std::to_string(value)); }
  JsonWriter& add(std::string_view name, std::uint64_t value) { return add_raw(name, std::to_string(value)); }
  JsonWriter& add(std::string_view name, int value) { return add_raw(name, std::to_string(value)); }
  JsonWriter& add_flag(std::string_view name, bool value) { return add_raw(name, value ? "true" : "false"); }
  // value is JSON already.
  JsonWriter& add_raw(std::string_view name, std::string_view value);
  std::string text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

// With quotes and escapes.
std::string json_string(std::string_view text);

}  // namespace davit::monitor
