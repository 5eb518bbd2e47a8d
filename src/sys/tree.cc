#include "sys/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>

#include <cstring>
#include <memory>

#include "sys/file.h"
#include "sys/raw_tree.h"

namespace davit::sys {

namespace {

Error failed(long negative_errno, std::string_view call, std::string_view name) {
  return Error::from_errno(static_cast<int>(-negative_errno), std::string(call) + " '" + std::string(name) + "'");
}

// struct linux_dirent64 (getdents64(2)): inode 8, offset 8, length 2, type 1, name.
constexpr std::size_t kLengthOffset = 16, kTypeOffset = 18, kNameOffset = 19;

// Removes the files in dir; names its directories.
Result<std::vector<std::string>> remove_files(int dir) {
  auto const entries = TRY(read_directory(dir));
  std::vector<std::string> directories;
  for (DirectoryEntry const& entry : entries) {
    long const result = entry.type == DT_DIR ? -EISDIR : raw::unlinkat(dir, entry.name.c_str(), 0);
    if (result == -EISDIR || result == -EPERM) {
      directories.push_back(entry.name);
    } else if (result < 0 && result != -ENOENT) {
      return failed(result, "unlink", entry.name);
    }
  }
  return directories;
}

Result<UniqueFd> open_directory(int dir, std::string const& name) {
  return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

}  // namespace

Result<std::vector<DirectoryEntry>> read_directory(int dir) {
  constexpr std::size_t kBufferSize = 64 << 10;
  auto const buffer = std::make_unique_for_overwrite<char[]>(kBufferSize);
  std::vector<DirectoryEntry> entries;
  for (;;) {
    long const size = raw::getdents64(dir, buffer.get(), kBufferSize);
    if (size < 0) return failed(size, "getdents", "directory");
    if (size == 0) return entries;
    for (char const* at = buffer.get(); at < buffer.get() + size;) {
      std::uint16_t length;
      std::memcpy(&length, at + kLengthOffset, sizeof length);
      std::string_view const name = at + kNameOffset;
      if (name != "." && name != "..") {
        entries.push_back({std::string(name), static_cast<unsigned char>(at[kTypeOffset])});
      }
      at += length;
    }
  }
}

Result<void> remove_at(int dir, std::string const& name) {
  long result = raw::unlinkat(dir, name.c_str(), 0);
  if (result == 0 || result == -ENOENT) return {};
  if (result != -EISDIR && result != -EPERM) return failed(result, "unlink", name);
  // One descriptor at a time, up by "..": a tree may be deeper than there are descriptors.
  struct Level {
    std::string name;
    std::vector<std::string> directories;
  };
  UniqueFd here = TRY(open_directory(dir, name));
  std::vector<Level> levels;
  auto first = TRY(remove_files(here.get()));
  levels.push_back({name, std::move(first)});
  for (;;) {
    if (!levels.back().directories.empty()) {
      std::string next = std::move(levels.back().directories.back());
      levels.back().directories.pop_back();
      here = TRY(open_directory(here.get(), next));
      auto inner = TRY(remove_files(here.get()));
      levels.push_back({std::move(next), std::move(inner)});
      continue;
    }
    std::string const done = std::move(levels.back().name);
    levels.pop_back();
    int parent = dir;
    if (!levels.empty()) {
      here = TRY(open_directory(here.get(), ".."));
      parent = here.get();
    }
    result = raw::unlinkat(parent, done.c_str(), AT_REMOVEDIR);
    if (result < 0 && result != -ENOENT) return failed(result, "rmdir", done);
    if (levels.empty()) return {};
  }
}

std::string proc_path(int dir, std::string_view name) {
  std::string path = "/proc/self/fd/" + std::to_string(dir);
  if (!name.empty()) {
    path += '/';
    path += name;
  }
  return path;
}

namespace {
// list(buffer, size) and get(key, buffer, size): the calls, whatever the file is named by.
template <typename List, typename Get>
Result<Xattrs> collect_xattrs(std::string_view name, List const& list, Get const& get) {
  constexpr std::size_t kMaxSize = 64 << 10;  // XATTR_LIST_MAX and XATTR_SIZE_MAX, limits.h
  Xattrs found;
  std::string names(256, '\0');
  long size = list(names.data(), names.size());
  if (size == 0 || size == -ENOTSUP) return found;
  if (size == -ERANGE) {
    names.resize(kMaxSize);
    size = list(names.data(), names.size());
  }
  if (size < 0) return failed(size, "listxattr", name);
  names.resize(static_cast<std::size_t>(size));
  std::string value(kMaxSize, '\0');
  for (std::size_t at = 0; at < names.size();) {
    std::string key = names.c_str() + at;
    at += key.size() + 1;
    long const length = get(key.c_str(), value.data(), value.size());
    if (length == -ENODATA) continue;  // removed meanwhile
    if (length < 0) return failed(length, "getxattr " + key + " of", name);
    found.emplace(std::move(key), value.substr(0, static_cast<std::size_t>(length)));
  }
  return found;
}
}  // namespace

Result<Xattrs> read_xattrs(int dir, std::string const& name) {
  std::string const path = proc_path(dir, name);
  return collect_xattrs(
      name, [&](char* out, std::size_t size) { return raw::llistxattr(path.c_str(), out, size); },
      [&](char const* key, char* out, std::size_t size) { return raw::lgetxattr(path.c_str(), key, out, size); });
}

Result<Xattrs> read_xattrs(int fd) {
  return collect_xattrs(
      "open file", [&](char* out, std::size_t size) { return raw::flistxattr(fd, out, size); },
      [&](char const* key, char* out, std::size_t size) { return raw::fgetxattr(fd, key, out, size); });
}

Result<void> own_umask_zero() {
  long const result = raw::unshare(CLONE_FS);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "unshare(CLONE_FS)");
  (void)raw::umask(0);
  return {};
}

}  // namespace davit::sys
