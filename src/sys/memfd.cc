#include "sys/memfd.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace davit::sys {

Result<UniqueFd> memfd(std::string const& name) {
  int const fd = ::memfd_create(name.c_str(), MFD_CLOEXEC);
  if (fd < 0) return Error::from_errno(errno, "memfd_create '" + name + "'");
  return UniqueFd(fd);
}

Result<std::string> memfd_content(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) < 0) return Error::from_errno(errno, "fstat of a memfd");
  std::string content(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    ssize_t const count = ::pread(fd, content.data() + done, content.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error::from_errno(errno, "pread of a memfd");
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  content.resize(done);
  return content;
}

}  // namespace davit::sys
