#include "sys/limits.h"

#include <sys/resource.h>

#include <cerrno>

namespace davit::sys {

Result<void> raise_open_file_limit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return Error::from_errno(errno, "getrlimit RLIMIT_NOFILE");
  if (limit.rlim_cur == limit.rlim_max) return {};
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) < 0) return Error::from_errno(errno, "setrlimit RLIMIT_NOFILE");
  return {};
}

}  // namespace davit::sys
