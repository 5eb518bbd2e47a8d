#include "registry/failure.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "codec/json.h"

namespace davit::registry {

namespace {

constexpr std::size_t kMaxBody = 65536, kMaxErrors = 5;

// As much of the body as matters; an error while reading ends it, as the status has been told already.
std::string read_some(wire::HttpResponse& response) {
  std::string body;
  while (body.size() < kMaxBody) {
    auto const piece = response.next();
    if (!piece.ok() || piece->empty()) break;
    body.append(piece->substr(0, kMaxBody - body.size()));
  }
  return body;
}

// "MANIFEST_UNKNOWN" as Docker prints it.
std::string spoken(std::string_view code) {
  std::string result(code);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_') c = ' ';
  }
  return result;
}

// {"errors":[{"code":..., "message":..., "detail":...}]}
Result<std::string> explain_errors(json::Field const& errors, std::string& code) {
  std::string text;
  std::size_t const count = std::min(TRY(errors.array_size()), kMaxErrors);
  for (std::size_t i = 0; i < count; ++i) {
    json::Field const entry = errors.element(i);
    std::string this_code, message;
    TRY(read(entry["code"], this_code));
    TRY(read(entry["message"], message));
    if (i == 0) code = this_code;
    if (this_code.empty() && message.empty()) continue;
    if (!text.empty()) text += "; ";
    text += spoken(this_code);
    if (!message.empty()) text += (this_code.empty() ? "" : ": ") + message;
  }
  return text;
}

Result<std::string> explain_json(std::string_view body, std::string& code) {
  json::Document const document = TRY(json::Document::parse(body, {.max_bytes = kMaxBody, .max_depth = 32}));
  json::Field const root = document.root();
  TRY(root.expect_object());
  json::Field const errors = root["errors"];
  if (errors.present()) return explain_errors(errors, code);
  // What token servers and gateways say instead.
  std::string text;
  for (std::string_view const name : {"error_description", "details", "message", "error"}) {
    TRY(read(root[name], text));
    if (!text.empty()) break;
  }
  return text;
}

std::string header_text(wire::HttpResponse const& response, std::string_view name) {
  std::string const* value = response.header(name);
  return value == nullptr ? std::string() : printable(*value, 100);
}

// Docker Hub tells the limit in headers; a user who is told it knows what to do.
std::string rate_limit(wire::HttpResponse const& response) {
  std::string text;
  for (std::string_view const name :
       {"RateLimit-Limit", "RateLimit-Remaining", "Docker-RateLimit-Source", "Retry-After"}) {
    std::string const value = header_text(response, name);
    if (!value.empty()) text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", name, value);
  }
  return text;
}

// Bytes of the character that text begins with (RFC 3629, shortest forms aside); 0: none.
std::size_t utf8_size(std::string_view text) {
  auto const first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  std::size_t const size = first >= 0xc2 && first < 0xe0   ? 2
                           : first >= 0xe0 && first < 0xf0 ? 3
                           : first >= 0xf0 && first < 0xf5 ? 4
                                                           : 0;
  if (size == 0 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return size;
}

}  // namespace

std::string printable(std::string_view text, std::size_t max_size) {
  std::string result;
  text = text.substr(0, max_size);
  while (!text.empty()) {
    auto const first = static_cast<unsigned char>(text[0]);
    std::size_t const size = utf8_size(text);
    // 0x80 to 0x9f are control characters too, and terminals obey them.
    bool const control = first < 0x20 || first == 0x7f || (first == 0xc2 && size == 2 && (text[1] & 0x20) == 0);
    if (control) {
      result += ' ';
    } else if (size == 0) {
      result += '?';
    } else {
      result += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return std::string(trim(result));
}

std::string explain_body(std::string_view body, std::string& code) {
  auto said = explain_json(body, code);
  if (said.ok()) {
    code = printable(code, 64);
    return printable(*said);
  }
  code.clear();
  // A page of HTML helps nobody.
  std::string_view const text = trim(body);
  if (text.empty() || text[0] == '<' || text[0] == '{') return {};
  return printable(text.substr(0, text.find('\n')), 200);
}

Errc Failure::errc() const {
  switch (status) {
    case 401:
    case 403:
    case 407:
      return Errc::kPermissionDenied;
    case 404:
      return Errc::kNotFound;
    case 405:
    case 501:
      return Errc::kUnimplemented;
    case 409:
      return Errc::kConflict;
    case 429:
      return Errc::kResourceExhausted;
    default:
      break;
  }
  return status == 408 || status >= 500 ? Errc::kUnavailable : Errc::kInvalidArgument;
}

Failure read_failure(wire::HttpResponse& response, std::string_view from) {
  Failure failure;
  failure.status = response.status();
  // The body of an answer that is no error, only unexpected, is content.
  std::string const said = failure.status < 400 ? "" : explain_body(read_some(response), failure.code);
  failure.text = fmt::format("{}{}HTTP {} from {}", said, said.empty() ? "" : " (", failure.status, from);
  if (failure.status == 429) {
    std::string const limit = rate_limit(response);
    failure.text += fmt::format("{}{}", limit.empty() ? "" : "; ", limit);
  }
  if (!said.empty()) failure.text += ")";
  return failure;
}

}  // namespace davit::registry
