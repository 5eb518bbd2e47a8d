#include "sys/file_change.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace davit::sys {

Result<void> rename(std::string const& from, std::string const& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  int const error_number = errno;
  return Error::from_errno(error_number, "rename '" + from + "' to '" + to + "'");
}

Result<void> truncate(int fd, std::uint64_t size) {
  if (::ftruncate(fd, static_cast<off_t>(size)) == 0) return {};
  return Error::from_errno(errno, "ftruncate");
}

Result<void> reserve_space(int fd, std::uint64_t offset, std::uint64_t size) {
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size)) == 0) return {};
  return Error::from_errno(errno, "fallocate");
}

Result<void> sync(int fd) {
  if (::fsync(fd) == 0) return {};
  return Error::from_errno(errno, "fsync");
}

Result<std::size_t> append_some(int fd, std::string_view data) {
  ssize_t count;
  do count = ::write(fd, data.data(), data.size());
  while (count < 0 && errno == EINTR);
  if (count < 0) return Error::from_errno(errno, "write");
  return static_cast<std::size_t>(count);
}

Result<std::size_t> read_at(int fd, std::uint64_t offset, char* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    ssize_t const count = ::pread(fd, out + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error::from_errno(errno, "pread");
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

}  // namespace davit::sys
