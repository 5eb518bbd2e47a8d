#include "sys/file.h"

#include <dirent.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/text.h"
#include "sys/raw.h"

namespace davit::sys {

namespace {
Error failed(long negative_errno, std::string_view call, std::string_view path) {
  std::string text(call);
  text += " '";
  text += path;
  text += "'";
  return Error::from_errno(static_cast<int>(-negative_errno), text);
}

Result<UniqueFd> descriptor(long result, std::string_view call, std::string_view path) {
  if (result < 0) return failed(result, call, path);
  return UniqueFd(static_cast<int>(result));
}
}  // namespace

Result<UniqueFd> open(std::string const& path, int flags, mode_t mode) { return openat(AT_FDCWD, path, flags, mode); }

Result<UniqueFd> openat(int dir, std::string const& path, int flags, mode_t mode) {
  return descriptor(raw::openat(dir, path.c_str(), flags, mode), "open", path);
}

Result<UniqueFd> openat2(int dir, std::string const& path, std::uint64_t flags, std::uint64_t resolve, mode_t mode) {
  long result;
  // EAGAIN: a rename raced with the walk and the kernel could not prove that it stayed inside (openat2(2)).
  do result = raw::openat2(dir, path.c_str(), flags, resolve, mode);
  while (result == -EAGAIN);
  return descriptor(result, "openat2", path);
}

Result<std::size_t> read(int fd, std::span<char> out) {
  long const result = raw::read(fd, out.data(), out.size());
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "read");
  return static_cast<std::size_t>(result);
}

Result<void> write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    long const written = raw::write(fd, data.data(), data.size());
    if (written < 0) return Error::from_errno(static_cast<int>(-written), "write");
    data.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::string> read_all(int fd, std::size_t max_size) {
  std::string data;
  for (;;) {
    std::size_t const old_size = data.size();
    data.resize(old_size + (old_size == 0 ? 4096 : old_size));
    std::size_t const count = TRY(read(fd, std::span(data).subspan(old_size)));
    data.resize(old_size + count);
    if (count == 0) return data;
    if (data.size() > max_size) return Error(Errc::kResourceExhausted, "larger than " + std::to_string(max_size) + " bytes");
  }
}

Result<std::string> read_file(std::string const& path, std::size_t max_size) {
  return read_file_at(AT_FDCWD, path, max_size);
}

Result<std::string> read_file_at(int dir, std::string const& path, std::size_t max_size) {
  UniqueFd const fd = TRY(openat(dir, path, O_RDONLY));
  return TRY_CTX(read_all(fd.get(), max_size), path);
}

Result<void> write_knob(int dir, std::string const& path, std::string_view value) {
  UniqueFd const fd = TRY(openat(dir, path, O_WRONLY));
  long const written = raw::write(fd.get(), value.data(), value.size());
  if (written < 0) {
    return Error::from_errno(static_cast<int>(-written), "write '" + std::string(trim(value)) + "' to '" + path + "'");
  }
  return {};
}

Result<void> replace_file_at(int dir, std::string const& name, std::string_view data, mode_t mode,
                             Durability durability) {
  std::string const temporary = name + ".new";
  UniqueFd fd = TRY(openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
  TRY_CTX(write_all(fd.get(), data), temporary);
  if (durability == Durability::kSync && ::fsync(fd.get()) < 0) return failed(-errno, "fsync", temporary);
  if (::renameat(dir, temporary.c_str(), dir, name.c_str()) < 0) return failed(-errno, "rename", temporary);
  if (durability == Durability::kSync) {
    UniqueFd const directory = TRY(openat(dir, ".", O_RDONLY | O_DIRECTORY));
    if (::fsync(directory.get()) < 0) return failed(-errno, "fsync directory of", name);
  }
  return {};
}

Result<void> mkdir(std::string const& path, mode_t mode) {
  long const result = raw::mkdirat(AT_FDCWD, path.c_str(), mode);
  if (result < 0) return failed(result, "mkdir", path);
  return {};
}

Result<void> mkdir_all(std::string const& path, mode_t mode) {
  long result = raw::mkdirat(AT_FDCWD, path.c_str(), mode);
  if (result == -ENOENT) {
    std::size_t const slash = path.find_last_of('/');
    if (slash == std::string::npos || slash == 0) return failed(result, "mkdir", path);
    TRY(mkdir_all(path.substr(0, slash), mode));
    result = raw::mkdirat(AT_FDCWD, path.c_str(), mode);
  }
  if (result < 0 && result != -EEXIST) return failed(result, "mkdir", path);
  return {};
}

Result<void> unlink_at(int dir, std::string const& path, int flags) {
  long const result = raw::unlinkat(dir, path.c_str(), flags);
  if (result < 0) return failed(result, "unlink", path);
  return {};
}

Result<void> rmdir(std::string const& path) {
  long const result = raw::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
  if (result < 0) return failed(result, "rmdir", path);
  return {};
}

namespace {
Result<void> remove_at(int dir, std::string const& name, int depth) {
  long result = raw::unlinkat(dir, name.c_str(), 0);
  if (result == 0 || result == -ENOENT) return {};
  if (result != -EISDIR && result != -EPERM) return failed(result, "unlink", name);
  if (depth > 256) return Error(Errc::kInvalidArgument, "directories nested too deep at '" + name + "'");
  UniqueFd const child = TRY(openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  for (std::string const& entry : TRY(list_directory(child.get()))) TRY(remove_at(child.get(), entry, depth + 1));
  result = raw::unlinkat(dir, name.c_str(), AT_REMOVEDIR);
  if (result < 0 && result != -ENOENT) return failed(result, "rmdir", name);
  return {};
}
}  // namespace

Result<void> remove_tree(std::string const& path) {
  TRY_CTX(remove_at(AT_FDCWD, path, 0), "remove " + path);
  return {};
}

Result<struct stat> fstat(int fd) {
  struct stat out {};
  if (::fstat(fd, &out) < 0) return Error::from_errno(errno, "fstat");
  return out;
}

Result<std::string> readlink(std::string const& path) {
  char target[4096];
  long const length = raw::readlinkat(AT_FDCWD, path.c_str(), target, sizeof target);
  if (length < 0) return failed(length, "readlink", path);
  return std::string(target, static_cast<std::size_t>(length));
}

Result<long> fs_magic(int fd) {
  struct statfs out {};
  if (::fstatfs(fd, &out) < 0) return Error::from_errno(errno, "fstatfs");
  return static_cast<long>(out.f_type);
}

Result<std::vector<std::string>> list_directory(int dir) {
  UniqueFd copy = TRY(openat(dir, ".", O_RDONLY | O_DIRECTORY));
  DIR* const stream = ::fdopendir(copy.get());
  if (stream == nullptr) return Error::from_errno(errno, "fdopendir");
  (void)copy.release();  // owned by the stream now
  std::vector<std::string> names;
  while (dirent const* entry = ::readdir(stream)) {
    std::string_view const name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(stream);
  return names;
}

bool exists(std::string const& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string clean_path(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view const part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else {
      kept.push_back(part);
    }
  }
  std::string out;
  for (std::string_view const part : kept) {
    out += '/';
    out += part;
  }
  return out.empty() ? "/" : out;
}

Result<std::string> current_directory() {
  char buffer[4096];
  if (::getcwd(buffer, sizeof buffer) == nullptr) return Error::from_errno(errno, "getcwd");
  return std::string(buffer);
}

}  // namespace davit::sys
