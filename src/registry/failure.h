// What a registry or token server says when it refuses: its status and the JSON of the distribution specification
// ("Error Codes"), as an error that a person can act on. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/http_client.h"

namespace davit::registry {

struct Failure {
  int status = 0;
  std::string code;  // of the first error: "MANIFEST_UNKNOWN", "" when the body holds none
  std::string text;  // "manifest unknown: manifest unknown (HTTP 404 from https://registry.example)"

  Errc errc() const;
  Error error() const { return Error(errc(), text); }
};

// Reads (a part of) the body. from: the endpoint's base or a token server's origin, for the text.
Failure read_failure(wire::HttpResponse& response, std::string_view from);

// The body alone, as text: "manifest unknown: manifest unknown", "" when there is nothing to say. code is set.
std::string explain_body(std::string_view body, std::string& code);

// At most max_size bytes, control characters taken out: what a server says must not play with a terminal.
std::string printable(std::string_view text, std::size_t max_size = 500);

}  // namespace davit::registry
