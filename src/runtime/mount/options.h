// Mount options of the specification (config.md, "Linux mount options") as the kernel's numbers. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::runtime {

struct MountOptions {
  unsigned long flags = 0;  // MS_* of mount(2) to set, MS_BIND, MS_REC (rbind) and MS_REMOUNT included
  unsigned long clear = 0;  // MS_* that an option named as off ("rw", "dev"); never overlaps flags
  std::vector<unsigned long>
      propagation;  // MS_PRIVATE and so on, with MS_REC for the r-forms; one mount(2) each, in order
  // For one mount_setattr(2) with AT_RECURSIVE: abi::kMountAttr*. rec_clear holds the whole kMountAttrAtimeMask when
  // any of the access time options is given, as the kernel wants.
  std::uint64_t rec_set = 0, rec_clear = 0;
  bool tmpcopyup = false;
  bool idmap = false;            // idmap or ridmap
  bool recursive_idmap = false;  // ridmap
  bool bind = false;             // bind or rbind
  bool recursive_bind = false;   // rbind
  std::string data;              // the file system's own options, comma-joined
};

// Later options win over earlier ones. Words that are no option of the specification become data; with bind or rbind
// they are kInvalidArgument ("options[2]: ..."), because the kernel would ignore them.
Result<MountOptions> parse_mount_options(std::vector<std::string> const& options);

// Every option known here, sorted: what `features` prints.
std::vector<std::string_view> mount_option_names();

}  // namespace davit::runtime
