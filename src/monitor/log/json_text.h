// JSON strings as Docker writes them into json-file logs: Go's encoding/json with HTML escaping. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "monitor/buffer.h"

namespace davit::monitor::log {

// Without the quotes: \" \\ \n \r, \u00XX for other bytes below 0x20 and for < > &, \u2028 \u2029, and \ufffd for every
// byte that is not part of valid UTF-8.
void append_json_escaped(Buffer& out, std::string_view text);

// Reads the string literal at the front of text (quotes included) and removes it from there. False where it is
// malformed; lone surrogates become U+FFFD.
bool take_json_string(std::string_view& text, std::string& out);

// Removes one JSON value of any kind from the front and returns its text; empty where it is malformed or nested deeper
// than 64.
std::string_view take_json_value(std::string_view& text);

void skip_json_space(std::string_view& text);

}  // namespace davit::monitor::log
