#include "codec/tar_pax.h"

#include <algorithm>
#include <limits>

#include "base/text.h"
#include "codec/base64.h"

namespace davit::codec::tar {

namespace {

constexpr std::uint64_t kMaxSize = std::numeric_limits<std::int64_t>::max();

Error bad_record(std::string_view key, std::string_view why) {
  return Error(Errc::kInvalidArgument, "pax record '" + std::string(key.substr(0, 80)) + "': " + std::string(why));
}

Result<void> read_size(std::string_view key, std::string_view text, std::optional<std::uint64_t>& out) {
  out = parse_u64(text);
  if (!out || *out > kMaxSize) return bad_record(key, "not a size");
  return {};
}

Result<void> read_id(std::string_view key, std::string_view text, std::optional<std::uint32_t>& out) {
  // 2^32-1 means "leave it alone" to chown(2).
  std::optional<std::uint64_t> const wide = parse_u64(text);
  if (!wide || *wide >= std::numeric_limits<std::uint32_t>::max()) return bad_record(key, "not an id");
  out = static_cast<std::uint32_t>(*wide);
  return {};
}

Result<void> read_text(std::string_view key, std::string_view text, TarLimits const& limits,
                       std::optional<std::string>& out) {
  if (text.find('\0') != std::string_view::npos) return bad_record(key, "holds a NUL byte");
  if (text.size() > limits.max_name)
    return Error(Errc::kResourceExhausted, "name of " + std::to_string(text.size()) + " bytes");
  out = std::string(text);
  return {};
}

// "%41b" -> "Ab": how libarchive writes names of xattrs.
std::string url_decoded(std::string_view text) {
  auto const digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<void> add_xattr(std::string_view key, std::string name, std::string value, PaxValues& values) {
  if (name.empty() || name.find('\0') != std::string::npos) return bad_record(key, "not a name of an attribute");
  values.xattrs[std::move(name)] = std::move(value);
  return {};
}

Result<void> add_extent(std::string_view key, SparseExtent extent, TarLimits const& limits, PaxValues& values) {
  if (extent.offset > kMaxSize || extent.size > kMaxSize) return bad_record(key, "not a size");
  if (values.sparse_extents.size() >= limits.max_sparse_extents) {
    return Error(Errc::kResourceExhausted,
                 "sparse file with more than " + std::to_string(limits.max_sparse_extents) + " extents");
  }
  values.sparse_extents.push_back(extent);
  return {};
}

// Sparse format 0.1: "offset,size,offset,size"
Result<void> read_map(std::string_view key, std::string_view text, TarLimits const& limits, PaxValues& values) {
  values.sparse_extents.clear();
  std::uint64_t offset = 0;
  bool have_offset = false;
  while (!text.empty()) {
    std::size_t const comma = std::min(text.find(','), text.size());
    std::optional<std::uint64_t> const number = parse_u64(text.substr(0, comma));
    if (!number) return bad_record(key, "not a list of numbers");
    if (have_offset) TRY(add_extent(key, {offset, *number}, limits, values));
    have_offset = !have_offset;
    offset = *number;
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  if (have_offset) return bad_record(key, "an offset without a size");
  return {};
}

Result<void> read_sparse(std::string_view key, std::string_view name, std::string_view value, TarLimits const& limits,
                         PaxValues& values) {
  if (name == "major") return read_size(key, value, values.sparse_major);
  if (name == "minor") return read_size(key, value, values.sparse_minor);
  if (name == "name") return read_text(key, value, limits, values.sparse_name);
  if (name == "realsize" || name == "size") {
    values.sparse_in_header = true;
    return read_size(key, value, values.sparse_real_size);
  }
  if (name == "map") return read_map(key, value, limits, values);
  if (name == "offset") return read_size(key, value, values.sparse_offset);
  if (name == "numbytes") {
    std::optional<std::uint64_t> size;
    TRY(read_size(key, value, size));
    if (!values.sparse_offset) return bad_record(key, "a size without an offset");
    TRY(add_extent(key, {*values.sparse_offset, *size}, limits, values));
    values.sparse_offset.reset();
  }
  return {};
}

// An empty value takes back what a global header said.
template <typename T>
bool took_back(std::string_view value, std::optional<T>& out) {
  if (value.empty()) out.reset();
  return value.empty();
}

Result<void> read_number(std::string_view key, std::string_view value, std::optional<std::uint32_t>& out) {
  if (took_back(value, out)) return {};
  return read_id(key, value, out);
}

Result<void> read_name(std::string_view key, std::string_view value, TarLimits const& limits,
                       std::optional<std::string>& out) {
  if (took_back(value, out)) return {};
  return read_text(key, value, limits, out);
}

Result<void> read_record(std::string_view key, std::string_view value, TarLimits const& limits, PaxValues& values) {
  constexpr std::string_view kSchily = "SCHILY.xattr.", kLibarchive = "LIBARCHIVE.xattr.", kSparse = "GNU.sparse.";
  if (key == "path") return read_name(key, value, limits, values.path);
  if (key == "linkpath") return read_name(key, value, limits, values.linkpath);
  if (key == "uname") return read_name(key, value, limits, values.uname);
  if (key == "gname") return read_name(key, value, limits, values.gname);
  if (key == "uid") return read_number(key, value, values.uid);
  if (key == "gid") return read_number(key, value, values.gid);
  if (key == "SCHILY.devmajor") return read_number(key, value, values.major);
  if (key == "SCHILY.devminor") return read_number(key, value, values.minor);
  if (key == "size") {
    if (took_back(value, values.size)) return {};
    return read_size(key, value, values.size);
  }
  if (key == "mtime") {
    if (took_back(value, values.mtime)) return {};
    values.mtime = parse_pax_time(value);
    if (!values.mtime) return bad_record(key, "not a time");
    return {};
  }
  if (key.starts_with(kSchily))
    return add_xattr(key, std::string(key.substr(kSchily.size())), std::string(value), values);
  if (key.starts_with(kLibarchive)) {
    std::string decoded = TRY_CTX(base64_decode(value), "pax record '" + std::string(key.substr(0, 80)) + "'");
    return add_xattr(key, url_decoded(key.substr(kLibarchive.size())), std::move(decoded), values);
  }
  if (key.starts_with(kSparse)) return read_sparse(key, key.substr(kSparse.size()), value, limits, values);
  return {};  // access and change times, comments, vendors' own
}

}  // namespace

Result<void> parse_pax(std::string_view text, TarLimits const& limits, PaxValues& values) {
  while (!text.empty()) {
    std::size_t const space = text.substr(0, 21).find(' ');
    std::optional<std::uint64_t> const length =
        space == std::string_view::npos ? std::nullopt : parse_u64(text.substr(0, space));
    // At least "5 k=\n" long, and its last byte a newline.
    if (!length || *length > text.size() || *length < space + 4 || text[*length - 1] != '\n') {
      return Error(Errc::kInvalidArgument, "pax header: a record's length is wrong");
    }
    std::string_view const record = text.substr(space + 1, *length - space - 2);
    std::size_t const equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return Error(Errc::kInvalidArgument, "pax header: a record without a key");
    TRY(read_record(record.substr(0, equals), record.substr(equals + 1), limits, values));
    values.empty = false;
    text.remove_prefix(*length);
  }
  return {};
}

void append_pax(std::string& out, std::string_view key, std::string_view value) {
  std::size_t const rest = key.size() + value.size() + 3;  // space, equals, newline
  std::size_t length = rest + 1;
  while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
  out += std::to_string(length);
  out += ' ';
  out += key;
  out += '=';
  out += value;
  out += '\n';
}

std::string pax_time(TarTime time) {
  std::int64_t seconds = time.seconds;
  std::uint32_t nanos = time.nanos;
  bool const negative = seconds < 0;
  if (negative && nanos != 0) {  // -1 s + 0.5 s is written -0.5
    ++seconds;
    nanos = 1'000'000'000 - nanos;
  }
  std::string text = std::to_string(seconds);
  if (negative && seconds == 0) text = "-0";
  if (nanos == 0) return text;
  std::string fraction = std::to_string(nanos);
  fraction.insert(0, 9 - fraction.size(), '0');
  while (fraction.back() == '0') fraction.pop_back();
  return text + "." + fraction;
}

std::optional<TarTime> parse_pax_time(std::string_view text) {
  std::size_t const dot = std::min(text.find('.'), text.size());
  std::string_view const whole = text.substr(0, dot);
  std::optional<std::int64_t> const seconds = parse_i64(whole);
  if (!seconds) return std::nullopt;
  std::uint32_t nanos = 0, unit = 100'000'000;
  for (char const digit : text.substr(std::min(dot + 1, text.size()))) {
    if (digit < '0' || digit > '9') return std::nullopt;
    nanos += static_cast<std::uint32_t>(digit - '0') * unit;
    unit /= 10;
  }
  if (!whole.starts_with('-') || nanos == 0) return TarTime{*seconds, nanos};
  if (*seconds == std::numeric_limits<std::int64_t>::min()) return std::nullopt;
  return TarTime{*seconds - 1, 1'000'000'000 - nanos};
}

bool extents_fit(std::vector<SparseExtent> const& extents, std::uint64_t real_size) {
  std::uint64_t end = 0;
  for (SparseExtent const& extent : extents) {
    if (extent.offset < end || extent.offset > real_size || extent.size > real_size - extent.offset) return false;
    end = extent.offset + extent.size;
  }
  return true;
}

}  // namespace davit::codec::tar
