#include "monitor/json_writer.h"

#include "monitor/buffer.h"
#include "monitor/log/json_text.h"

namespace davit::monitor {

std::string json_string(std::string_view text) {
  Buffer escaped;
  log::append_json_escaped(escaped, text);
  return std::string("\"").append(escaped.view()).append("\"");
}

JsonWriter& JsonWriter::add(std::string_view name, std::string_view value) { return add_raw(name, json_string(value)); }

JsonWriter& JsonWriter::add_raw(std::string_view name, std::string_view value) {
  if (text_.size() > 1) text_ += ',';
  text_.append(json_string(name)).append(":").append(value);
  return *this;
}

}  // namespace davit::monitor
