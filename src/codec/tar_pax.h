// The records of pax extended headers (POSIX.1-2001, "pax Extended Header"): "LENGTH KEY=VALUE\n", with what
// Schilling's star, libarchive and GNU tar add. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/tar.h"

namespace davit::codec::tar {

// What a header's records say; nullopt: nothing. Later ones replace earlier ones.
struct PaxValues {
  std::optional<std::string> path, linkpath, uname, gname;
  std::optional<std::uint64_t> size;
  std::optional<std::uint32_t> uid, gid;
  std::optional<TarTime> mtime;
  std::optional<std::uint32_t> major, minor;
  std::map<std::string, std::string> xattrs;

  // GNU.sparse.*: major.minor is 1.0, or 0.x when there are extents here.
  std::optional<std::string> sparse_name;
  std::optional<std::uint64_t> sparse_real_size, sparse_major, sparse_minor;
  std::vector<SparseExtent> sparse_extents;
  std::optional<std::uint64_t> sparse_offset;  // of a pair (0.0) whose size has not come yet
  bool sparse_in_header = false;

  bool empty = true;  // no record at all, so nothing needs to be put over a header
};

// Puts the records of text over values. kInvalidArgument names the record; kResourceExhausted past the limits.
Result<void> parse_pax(std::string_view text, TarLimits const& limits, PaxValues& values);

// "LENGTH KEY=VALUE\n"
void append_pax(std::string& out, std::string_view key, std::string_view value);
// "-1.5", "1700000000.000000001", "7"
std::string pax_time(TarTime time);
std::optional<TarTime> parse_pax_time(std::string_view text);

// In order, none over another, none past real_size.
bool extents_fit(std::vector<SparseExtent> const& extents, std::uint64_t real_size);

}  // namespace davit::codec::tar
