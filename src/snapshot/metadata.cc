#include "snapshot/metadata.h"

#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

FileTimes::FileTimes(codec::TarTime time) {
  both[0].tv_sec = time.seconds;
  both[0].tv_nsec = static_cast<long>(time.nanos);
  both[1] = both[0];
}

Result<void> set_xattr(int directory, std::string_view leaf, int fd, std::string const& name, std::string_view value) {
  long const result =
      fd >= 0 ? sys::raw::fsetxattr(fd, name.c_str(), value.data(), value.size())
              : sys::raw::lsetxattr(sys::proc_path(directory, leaf).c_str(), name.c_str(), value.data(), value.size());
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "extended attribute " + name);
  return {};
}

std::uint32_t encode_device(std::uint32_t major, std::uint32_t minor) {
  return (minor & 0xff) | major << 8 | (minor & ~std::uint32_t{0xff}) << 12;
}

}  // namespace davit::snapshot
