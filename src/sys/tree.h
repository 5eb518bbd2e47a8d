// Directory trees by descriptor: reading directories, removing, attributes of a name in a directory. Nothing here
// follows a link as last component. Any thread.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

struct DirectoryEntry {
  std::string name;
  unsigned char type;  // DT_*; DT_UNKNOWN where the file system does not say
};
// Without "." and "..", in the file system's order. dir must have been opened for reading.
Result<std::vector<DirectoryEntry>> read_directory(int dir);

// Removes whatever `name` in `dir` is, a tree of any depth too. Nobody else may move directories of it meanwhile. A
// missing one is fine.
Result<void> remove_at(int dir, std::string const& name);

// "/proc/self/fd/DIR/NAME", or "/proc/self/fd/DIR" for an empty name: the way to the calls that have no form with a
// directory descriptor. The last component is the caller's to keep free of "..".
std::string proc_path(int dir, std::string_view name);

// All extended attributes of name in dir, and of an open file. Empty where the file system has none.
using Xattrs = std::map<std::string, std::string>;
Result<Xattrs> read_xattrs(int dir, std::string const& name);
Result<Xattrs> read_xattrs(int fd);

// Gives the calling thread a umask of its own (unshare(CLONE_FS)) and sets it to 0: modes given to open and mkdir are
// then exact. Lasts until the thread ends. The thread's working directory is its own too from then on.
Result<void> own_umask_zero();

}  // namespace davit::sys
