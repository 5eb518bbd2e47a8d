// Unpacking tars that are in memory, and trees as text to compare. Tests only.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "codec/stream.h"
#include "snapshot/apply.h"
#include "snapshot/overlay_marks.h"
#include "sys/file.h"
#include "sys/tree.h"

namespace davit::snapshot::testing {

// The directory, made if missing.
inline UniqueFd open_dir(std::string const& path) {
  DAVIT_CHECK(sys::mkdir_all(path, 0755).ok());
  return std::move(sys::open(path, O_RDONLY | O_DIRECTORY)).value();
}

// In a thread of its own, as apply() changes the thread's umask.
inline Result<Applied> apply_tar(std::string const& tar, std::string const& directory, ApplyOptions const& options = {},
                                 std::size_t chunk = SIZE_MAX) {
  std::optional<Result<Applied>> result;
  UniqueFd const layer = open_dir(directory);
  std::thread([&] {
    codec::MemorySource source(tar, chunk);
    result.emplace(apply(source, layer.get(), options));
  }).join();
  return std::move(*result);
}

enum class Times { kLeaveOut, kShow };

inline void tree_lines(int dir, std::string const& prefix, Times times, std::vector<std::string>& lines) {
  auto const entries = sys::read_directory(dir).value();
  for (auto const& [name, type] : entries) {
    struct stat info {};
    DAVIT_CHECK(::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0);
    char text[64];
    std::string line = prefix + name;
    auto const mode = static_cast<unsigned>(info.st_mode & 07777);
    std::snprintf(text, sizeof text, "%04o %u:%u", mode, info.st_uid, info.st_gid);
    std::string const owner = text;
    std::snprintf(text, sizeof text, " %u:%u", major(info.st_rdev), minor(info.st_rdev));
    if (is_whiteout(info)) {
      line += " whiteout";
    } else if (S_ISDIR(info.st_mode)) {
      line += " d" + owner + (is_opaque(dir, name) ? " opaque" : "");
    } else if (S_ISLNK(info.st_mode)) {
      line += " l ->" + sys::readlink(sys::proc_path(dir, name)).value();
    } else if (S_ISREG(info.st_mode)) {
      line += " -" + owner + " =" + sys::read_file_at(dir, name, std::size_t{1} << 30).value();
    } else {
      line += (S_ISCHR(info.st_mode) ? " c" : S_ISBLK(info.st_mode) ? " b" : " p") + owner;
      if (!S_ISFIFO(info.st_mode)) line += text;
    }
    if (!S_ISDIR(info.st_mode) && !is_whiteout(info) && info.st_nlink > 1)
      line += " names=" + std::to_string(info.st_nlink);
    sys::Xattrs const xattrs = sys::read_xattrs(dir, name).value();
    for (auto const& [key, value] : xattrs) {
      if (!is_overlay_xattr(key)) line += " [" + key + "=" + value + "]";
    }
    if (times == Times::kShow) {
      line += " @" + std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
    }
    lines.push_back(std::move(line));
    if (!S_ISDIR(info.st_mode)) continue;
    UniqueFd const inner = std::move(sys::openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)).value();
    tree_lines(inner.get(), prefix + name + "/", times, lines);
  }
}

// What is below path, one line each, sorted: "PATH d0755 0:0", "PATH -0644 1:2 =content", "PATH l ->target",
// "PATH c0600 0:0 1:3", "PATH p0644 0:0", "PATH whiteout"; then " opaque" for a directory that hides what is below,
// " names=2" for a file with several, " [attribute=value]" for each that is not overlay's, " @seconds.nanoseconds".
inline std::string tree_text(std::string const& path, Times times = Times::kLeaveOut) {
  std::vector<std::string> lines;
  tree_lines(open_dir(path).get(), "", times, lines);
  std::ranges::sort(lines);
  std::string text;
  for (std::string const& line : lines) text += line + "\n";
  return text;
}

// Of tests that make files of any owner, devices and trusted attributes.
inline bool is_root() { return ::geteuid() == 0; }

}  // namespace davit::snapshot::testing
