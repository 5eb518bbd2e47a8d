// How overlayfs writes down in an upper or lower directory what is gone (Documentation/filesystems/overlayfs.rst,
// "whiteouts and opaque directories"); docs/disk/layer-directory.md says which of it a layer of ours has. Any thread.
#pragma once

#include <sys/stat.h>

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::snapshot {

// "y": nothing below shows. "x" [Linux 6.7]: files in the directory may be whiteouts by kWhiteoutXattr.
inline constexpr char const* kOpaqueXattr = "trusted.overlay.opaque";
inline constexpr char const* kWhiteoutXattr = "trusted.overlay.whiteout";
// Content that lies elsewhere in the layers below: a directory that was renamed, a file with only its metadata copied
// up.
inline constexpr char const* kRedirectXattr = "trusted.overlay.redirect";
inline constexpr char const* kMetacopyXattr = "trusted.overlay.metacopy";

// A 0/0 character device: hides the name.
bool is_whiteout(struct stat const& info);
bool is_whiteout(int directory, char const* name);
// Marks a directory so that overlay shows nothing of what lies below it. name "": directory itself.
Result<void> make_opaque(int directory, std::string_view name);
bool is_opaque(int directory, std::string_view name);
// Attributes that overlay acts on: never taken from a tar, never written to one.
inline bool is_overlay_xattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}
// Attributes that belong in layers: capabilities of programs, and what users and root set for themselves. Not ACLs and
// labels, which are the machine's (Docker writes neither).
inline bool is_layer_xattr(std::string_view name) {
  return name == "security.capability" ||
         ((name.starts_with("user.") || name.starts_with("trusted.")) && !is_overlay_xattr(name));
}

}  // namespace davit::snapshot
