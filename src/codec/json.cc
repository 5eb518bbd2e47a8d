#include "codec/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/version.hpp>

namespace davit::json {

namespace bj = boost::json;

namespace {

bj::value const& as_value(void const* value) { return *static_cast<bj::value const*>(value); }

std::string_view kind_name(bj::value const& value) {
  switch (value.kind()) {
    case bj::kind::null:
      return "null";
    case bj::kind::bool_:
      return "a boolean";
    case bj::kind::int64:
    case bj::kind::uint64:
    case bj::kind::double_:
      return "a number";
    case bj::kind::string:
      return "a string";
    case bj::kind::array:
      return "an array";
    case bj::kind::object:
      return "an object";
  }
  return "a value";
}

// "line 3, column 14" of an offset; columns count bytes.
std::string place(std::string_view text, std::size_t offset) {
  std::string_view const before = text.substr(0, std::min(offset, text.size()));
  auto const line = std::count(before.begin(), before.end(), '\n') + 1;
  std::size_t const line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", line, before.size() - line_start + 1);
}

}  // namespace

// The values live in one growing arena: no free per value, and the whole document goes at once.
struct Document::Body {
  explicit Body(std::size_t size_hint) : memory(size_hint) {}
  bj::monotonic_resource memory;
  bj::value root;
};

Document::Document(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::parse(std::string_view text, ParseLimits limits) {
  if (text.size() > limits.max_bytes) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("JSON text of {} bytes is larger than {}", text.size(), limits.max_bytes));
  }
  bj::parse_options options;
  options.max_depth = limits.max_depth;
  // Values take about two times the bytes of their text.
  auto body = std::make_unique<Body>(std::clamp<std::size_t>(text.size() * 2, 1024, std::size_t{1} << 20));
  unsigned char scratch[4096];
  bj::parser parser({}, options, scratch);
  parser.reset(bj::storage_ptr(&body->memory));
  boost::system::error_code problem;
  std::size_t const consumed = parser.write_some(text, problem);
  std::size_t const rest = text.find_first_not_of(" \t\r\n", consumed);
  if (!problem && rest != std::string_view::npos) {
    return Error(Errc::kInvalidArgument, fmt::format("JSON {}: text after the end of the value", place(text, rest)));
  }
  if (problem) {
    return Error(Errc::kInvalidArgument, fmt::format("JSON {}: {}", place(text, consumed), problem.message()));
  }
  // The root is put where it is used, with the arena as its memory, so that release() moves instead of copying.
  body->root.~value();
  new (&body->root) bj::value(parser.release());
  return Document(std::move(body));
}

Field Document::root(std::string_view prefix) const {
  return Field(body_->root.is_null() ? nullptr : &body_->root, nullptr, prefix, Field::kNoIndex);
}

bool Field::present() const { return value_ != nullptr; }

Field Field::operator[](std::string_view name) const& {
  bj::value const* found = nullptr;
  if (value_ != nullptr && as_value(value_).is_object()) {
    found = as_value(value_).get_object().if_contains(name);
    if (found != nullptr && found->is_null()) found = nullptr;
  }
  return Field(found, this, name, kNoIndex);
}

Field Field::element(std::size_t index) const& {
  bj::value const* found = nullptr;
  if (value_ != nullptr && as_value(value_).is_array() && index < as_value(value_).get_array().size()) {
    found = &as_value(value_).get_array()[index];
    if (found->is_null()) found = nullptr;
  }
  return Field(found, this, {}, index);
}

std::string Field::path() const {
  if (parent_ == nullptr) return std::string(name_);
  std::string text = parent_->path();
  if (index_ != kNoIndex) return text + fmt::format("[{}]", index_);
  if (!text.empty()) text += '.';
  return text.append(name_);
}

Error Field::error(std::string_view message) const {
  std::string const where = path();
  return Error(Errc::kInvalidArgument, where.empty() ? std::string(message) : fmt::format("{}: {}", where, message));
}

Error Field::wrong_type(std::string_view expected) const {
  return error(fmt::format("expected {}, found {}", expected, kind_name(as_value(value_))));
}

Result<void> Field::expect_object() const {
  if (value_ == nullptr || as_value(value_).is_object()) return {};
  return wrong_type("an object");
}

Result<void> Field::expect_present() const {
  if (value_ != nullptr) return {};
  return error("required, but missing");
}

Result<std::size_t> Field::array_size() const {
  if (value_ == nullptr) return std::size_t{0};
  if (!as_value(value_).is_array()) return wrong_type("an array");
  return as_value(value_).get_array().size();
}

Result<std::vector<std::string_view>> Field::member_names() const {
  std::vector<std::string_view> names;
  if (value_ == nullptr) return names;
  if (!as_value(value_).is_object()) return wrong_type("an object");
  for (auto const& member : as_value(value_).get_object()) names.emplace_back(member.key().data(), member.key().size());
  return names;
}

Result<void> Field::read_bool(bool& out) const {
  if (value_ == nullptr) return {};
  if (!as_value(value_).is_bool()) return wrong_type("a boolean");
  out = as_value(value_).get_bool();
  return {};
}

Result<std::string_view> Field::string_view() const {
  if (value_ == nullptr) return std::string_view{};
  if (!as_value(value_).is_string()) return wrong_type("a string");
  bj::string const& text = as_value(value_).get_string();
  if (text.find('\0') != bj::string::npos) return error("the string holds a NUL character");
  return std::string_view(text.data(), text.size());
}

Result<void> Field::read_string(std::string& out) const {
  if (value_ == nullptr) return {};
  std::string_view const text = TRY(string_view());
  out = text;
  return {};
}

Result<void> Field::read_signed(std::int64_t& out, std::int64_t min, std::int64_t max) const {
  if (value_ == nullptr) return {};
  bj::value const& value = as_value(value_);
  // Boost keeps non-negative numbers that fit as int64 too; uint64 is only what is above its range.
  std::int64_t const* number = value.if_int64();
  if (number != nullptr && *number >= min && *number <= max) {
    out = *number;
    return {};
  }
  std::string const expected = fmt::format("expected a number from {} to {}", min, max);
  if (number != nullptr) return error(fmt::format("{}, found {}", expected, *number));
  if (value.is_uint64()) return error(fmt::format("{}, found {}", expected, value.get_uint64()));
  if (value.is_double()) return error(fmt::format("{}, found {}", expected, value.get_double()));
  return error(fmt::format("{}, found {}", expected, kind_name(value)));
}

Result<void> Field::read_unsigned(std::uint64_t& out, std::uint64_t max) const {
  if (value_ == nullptr) return {};
  bj::value const& value = as_value(value_);
  std::int64_t const* number = value.if_int64();
  if (number != nullptr && *number >= 0 && static_cast<std::uint64_t>(*number) <= max) {
    out = static_cast<std::uint64_t>(*number);
    return {};
  }
  if (value.is_uint64() && value.get_uint64() <= max) {
    out = value.get_uint64();
    return {};
  }
  std::string const expected = fmt::format("expected a number from 0 to {}", max);
  if (number != nullptr) return error(fmt::format("{}, found {}", expected, *number));
  if (value.is_uint64()) return error(fmt::format("{}, found {}", expected, value.get_uint64()));
  if (value.is_double()) return error(fmt::format("{}, found {}", expected, value.get_double()));
  return error(fmt::format("{}, found {}", expected, kind_name(value)));
}

Result<void> Field::read_double(double& out) const {
  if (value_ == nullptr) return {};
  boost::system::error_code problem;
  if (!as_value(value_).is_number()) return wrong_type("a number");
  out = as_value(value_).to_number<double>(problem);
  return {};
}

}  // namespace davit::json
