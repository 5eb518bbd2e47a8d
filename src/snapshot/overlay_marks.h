// How overlayfs writes down in an upper or lower directory what is gone (Documentation/filesystems/overlayfs.rst,
// "whiteouts and opaque directories"); docs/disk/layer-directory.md says which of it a layer of ours has. Any thread.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::snapshot {

inline constexpr char const* kOpaqueXattr =
    "trusted.overlay.opaque";  // "y": nothing below shows; "x": see kWhiteoutXattr
inline constexpr char const* kWhiteoutXattr =
    "trusted.overlay.whiteout";  // on an empty file in an opaque "x" directory [6.7]

// A 0/0 character device: hides the name.
bool is_whiteout(struct stat const& info);
bool is_whiteout(int directory, char const* name);
// Marks a directory so that overlay shows nothing of what lies below it. name "": directory itself.
Result<void> make_opaque(int directory, std::string_view name);
// Attributes that overlay acts on: never taken from a tar, never written to one.
inline bool is_overlay_xattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

}  // namespace davit::snapshot
