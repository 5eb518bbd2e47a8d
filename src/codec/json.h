// JSON input: bytes from outside become typed values, and every failure names the field. The JSON library (Boost.JSON)
// is seen by json.cc only, so this header is cheap. Output is codec/json_writer.h. Any thread; a Document is immutable.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::json {

struct ParseLimits {
  std::size_t max_bytes = std::size_t{16} << 20;
  std::size_t max_depth = 64;
};

// One value, or its absence, and where it sits in its document. A field that is missing and one that is `null` are the
// same, as Go programs print null for empty slices and pointers. A Field borrows its Document and the Fields above it:
// name each Field whose members are read, which the deleted overloads on temporaries enforce.
class Field {
 public:
  // false: missing or null
  bool present() const;
  // The member of that exact name; absent when this is absent or not an object. The later of two equal keys wins.
  Field operator[](std::string_view name) const&;
  Field operator[](std::string_view name) const&& = delete;
  Field element(std::size_t index) const&;
  Field element(std::size_t index) const&& = delete;

  // kInvalidArgument unless absent or of that kind.
  Result<void> expect_object() const;
  // kInvalidArgument when absent.
  Result<void> expect_present() const;
  // The number of elements, 0 when absent; kInvalidArgument when not an array.
  Result<std::size_t> array_size() const;
  // The member names in the document's order, empty when absent; kInvalidArgument when not an object.
  Result<std::vector<std::string_view>> member_names() const;

  // An error about this field: "process.user.uid: " and the message.
  Error error(std::string_view message) const;
  // "process.mounts[3].options"; "" for the whole document.
  std::string path() const;

  // Each leaves the output alone when the field is absent, and is kInvalidArgument when it is of another type.
  Result<void> read_bool(bool& out) const;
  // A string that holds a NUL byte is refused: the kernel would see a shorter one.
  Result<void> read_string(std::string& out) const;
  Result<void> read_signed(std::int64_t& out, std::int64_t min, std::int64_t max) const;
  Result<void> read_unsigned(std::uint64_t& out, std::uint64_t max) const;
  Result<void> read_double(double& out) const;
  // The string without a copy, alive as long as the Document; "" when absent.
  Result<std::string_view> string_view() const;

 private:
  friend class Document;
  static constexpr std::size_t kNoIndex = std::numeric_limits<std::size_t>::max();
  Field(void const* value, Field const* parent, std::string_view name, std::size_t index)
      : value_(value), parent_(parent), name_(name), index_(index) {}
  Error wrong_type(std::string_view expected) const;

  void const* value_;  // boost::json::value const*, null when absent
  Field const* parent_;
  std::string_view name_;
  std::size_t index_;
};

// A parsed text and the memory of its values.
class Document {
 public:
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();

  // kInvalidArgument with line and column for anything but one JSON value (RFC 8259, valid UTF-8) within the limits.
  static Result<Document> parse(std::string_view text, ParseLimits limits = {});
  // prefix: put before the paths of errors ("process" for a document that holds only that object). Borrowed.
  Field root(std::string_view prefix = {}) const;

 private:
  struct Body;
  explicit Document(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

// read(field, out): the typed readers, by overload, so that lists and optionals of any type with a read() work. A type
// of another module adds its own `Result<void> read(json::Field const&, T&)` in its namespace. An absent field leaves
// out alone.
inline Result<void> read(Field const& field, bool& out) { return field.read_bool(out); }
inline Result<void> read(Field const& field, std::string& out) { return field.read_string(out); }
inline Result<void> read(Field const& field, double& out) { return field.read_double(out); }

template <std::integral T>
requires(!std::same_as<T, bool>) Result<void> read(Field const& field, T& out) {
  if constexpr (std::is_signed_v<T>) {
    std::int64_t wide = out;
    TRY(field.read_signed(wide, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    out = static_cast<T>(wide);
  } else {
    std::uint64_t wide = out;
    TRY(field.read_unsigned(wide, std::numeric_limits<T>::max()));
    out = static_cast<T>(wide);
  }
  return {};
}

template <typename T>
Result<void> read(Field const& field, std::optional<T>& out) {
  if (!field.present()) return {};
  return read(field, out.emplace());
}

// A null element keeps T's default, as in Go.
template <typename T>
Result<void> read(Field const& field, std::vector<T>& out) {
  std::size_t const size = TRY(field.array_size());
  if (!field.present()) return {};
  out.clear();
  out.reserve(size);
  for (std::size_t i = 0; i < size; ++i) TRY(read(field.element(i), out.emplace_back()));
  return {};
}

template <typename T>
Result<void> read(Field const& field, std::map<std::string, T>& out) {
  auto const names = TRY(field.member_names());
  for (std::string_view const name : names) TRY(read(field[name], out[std::string(name)]));
  return {};
}

}  // namespace davit::json
