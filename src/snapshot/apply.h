// apply: a layer's tar stream becomes a directory in overlay form (whiteouts as 0/0 character devices, opaque
// directories by trusted.overlay.opaque), with ids, modes, times and xattrs exactly as in the tar. Only the layer's own
// directory is touched, whatever the tar says.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "codec/tar.h"

namespace davit::snapshot {

enum class Whiteouts : std::uint8_t {
  kOverlay,  // .wh.NAME becomes a 0/0 device: a layer above others
  kRefuse,   // there is nothing below (import of a root file system keeps Docker's way: such names are refused)
};

struct ApplyOptions {
  Whiteouts whiteouts = Whiteouts::kOverlay;
  codec::TarLimits limits = {};
  std::uint64_t max_bytes = std::uint64_t{1} << 42;  // of file data
  // Given the recipe's bytes (recipe.h) while the tar is read; nullptr: none is made. Borrowed.
  codec::Sink* recipe = nullptr;
  std::stop_token stop = {};
};

struct Applied {
  std::uint64_t entries = 0;
  std::uint64_t file_bytes = 0;  // sum of the files' sizes: what Docker calls a layer's size
  // Directories that had no entry of their own, relative to the layer ("usr/lib"), parents first. They were made 0755
  // root:root with time 0 and must get the metadata of the layers below (copy_directory_metadata), which makes the
  // layer depend on them. Never the layer's own directory: see apply().
  std::vector<std::string> implied_directories;
  // trusted.overlay.* and user.overlay.* attributes that were left out, as overlay would act on them.
  std::uint64_t dropped_xattrs = 0;
  // An opaque mark on the layer's own directory, which overlayfs does not act on: an image with such a layer has to be
  // mounted without the layers below it.
  bool root_is_opaque = false;
  // False: an entry took the place of another one of the same tar, whose data are gone, so the recipe cannot give the
  // tar back. The tar itself has to be kept.
  bool recipe_complete = true;
};

// directory: an empty directory on the store's file system; it becomes 0755 root:root whatever the tar's "./" entry
// says, as with Docker and containerd. Reads `tar` (uncompressed) to its end. Errors: kInvalidArgument (damaged or
// hostile archive: entry's name and why), kResourceExhausted (limits, disk full), kCancelled. After an error the
// directory is garbage that the caller removes. Thread: any, one apply per thread; it sets the calling thread's umask
// apart from the process's (unshare CLONE_FS), so call it from worker threads.
Result<Applied> apply(codec::Source& tar, int directory, ApplyOptions const& options);

// Gives directory `path` of `layer` the metadata (owner, mode, times, xattrs) that the nearest of `below` (open
// directories, top first) has for it; false when none has it.
Result<bool> copy_directory_metadata(int layer, std::string const& path, std::vector<int> const& below);

// What a tree takes on disk: blocks * 512, hard links once (du -s). Sockets and all.
struct Usage {
  std::uint64_t disk_bytes = 0;
  std::uint64_t inodes = 0;
};
Result<Usage> disk_usage(int directory);

}  // namespace davit::snapshot
