// diff: an overlay upper directory (or a whole tree) as a layer tar, byte for byte reproducible: entries sorted by
// name, parents first, hard links to the first name, whiteouts as .wh. files, opaque directories as .wh..wh..opq, only
// xattrs that belong in layers.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "codec/tar.h"

namespace davit::snapshot {

struct DiffOptions {
  std::optional<codec::TarTime> clamp_mtime;  // SOURCE_DATE_EPOCH: later times become this one
  bool parents = true;  // directories above a changed entry get entries too (as containerd and Docker write them)
  std::stop_token stop = {};
};

// upper: the overlay upper directory. Overlay's own marks (whiteout devices and the xattr form, opaque, redirect:
// refused, metacopy: refused) become tar form.
Result<void> diff_upper(int upper, codec::Sink& tar, DiffOptions const& options);

// The whole tree at `root` as one tar without whiteouts (docker export). Sockets are left out, as Docker does.
Result<void> export_tree(int root, codec::Sink& tar, DiffOptions const& options);

// What `docker diff` prints: A added, C changed, D deleted; sorted by path. lower: top first.
struct Change {
  char kind;         // 'A', 'C', 'D'
  std::string path;  // absolute: "/etc/passwd"
};
Result<std::vector<Change>> changes(int upper, std::vector<int> const& lower);

}  // namespace davit::snapshot
