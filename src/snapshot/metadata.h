// Attributes of files as tars and layers have them. Any thread.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "codec/tar.h"

namespace davit::snapshot {

// atime and mtime for utimensat(2): both the same, so that a layer is the same whenever it is unpacked.
struct FileTimes {
  explicit FileTimes(codec::TarTime time);
  timespec both[2];
};

// One attribute of `leaf` in `directory` (fd -1), or of the open file fd. On an error the message names the attribute.
Result<void> set_xattr(int directory, std::string_view leaf, int fd, std::string const& name, std::string_view value);

// The kernel's encoding of a device number for mknod(2).
std::uint32_t encode_device(std::uint32_t major, std::uint32_t minor);

}  // namespace davit::snapshot
