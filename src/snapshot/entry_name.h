// What an entry's name in a layer tar asks for: a path inside the layer, a whiteout, or nothing. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::snapshot {

// Image spec, layer.md, "Whiteouts". Other names with kMetaPrefix were aufs's own and stand for nothing.
inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kMetaPrefix = ".wh..wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";

enum class NameKind : std::uint8_t {
  kRoot,      // the layer itself
  kEntry,     // path
  kWhiteout,  // path is hidden
  kOpaque,    // what lies below parent is hidden
  kNothing,   // to be passed over
};

struct EntryName {
  NameKind kind = NameKind::kNothing;
  std::string path;         // without "." and "..", no slash at either end
  std::string_view parent;  // views of path; "" is the layer itself
  std::string_view leaf;

  EntryName() = default;
  EntryName(EntryName const&) = delete;  // the views
  EntryName& operator=(EntryName const&) = delete;
};

// Leading slashes fall away, "a/../b" is "b" (both as in Docker). kInvalidArgument for a name that leaves the layer and
// for a whiteout of "", "." or "..", or one that is used as a directory.
Result<void> parse_entry_name(std::string_view name, EntryName& out);

// The same cleaning for the target of a hard link: no whiteouts, kEntry or kRoot.
Result<void> parse_link_target(std::string_view name, EntryName& out);

}  // namespace davit::snapshot
