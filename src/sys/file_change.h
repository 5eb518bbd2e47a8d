// Changes to files and directories that sys/file.h lacks. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::sys {

Result<void> rename(std::string const& from, std::string const& to);
Result<void> truncate(int fd, std::uint64_t size);
// Takes disk space for [offset, offset + size) without changing the file's size; truncate() gives back what is beyond
// it. Fails where the file system cannot (EOPNOTSUPP) or has none left.
Result<void> reserve_space(int fd, std::uint64_t offset, std::uint64_t size);
Result<void> sync(int fd);
// One write(2) at the end (the descriptor is O_APPEND); the bytes taken, which may be fewer.
Result<std::size_t> append_some(int fd, std::string_view data);
Result<std::size_t> read_at(int fd, std::uint64_t offset, char* out, std::size_t size);

}  // namespace davit::sys
