#include "runtime/cgroup/tree.h"

#include <fcntl.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/text.h"
#include "base/unique_fd.h"
#include "sys/file.h"
#include "sys/raw.h"
#include "sys/subdirectories.h"

namespace davit::runtime {

bool Backoff::wait() {
  if (left_.count() <= 0) return false;
  std::chrono::microseconds const pause = std::min(next_, left_);
  std::this_thread::sleep_for(pause);
  left_ -= pause;
  next_ = std::min<std::chrono::microseconds>(next_ * 2, std::chrono::milliseconds(20));
  return true;
}

namespace {

// Names of the groups directly below. kernfs counts them in the link count, so a leaf (nearly every group) costs no
// listing of its 60 knobs.
Result<std::vector<std::string>> children(int dir) {
  struct stat const info = TRY(sys::fstat(dir));
  if (info.st_nlink == 2) return std::vector<std::string>();
  return sys::list_subdirectories(dir);
}

Result<UniqueFd> open_directory(int dir, std::string const& name) {
  return sys::openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

// A group may go away while it is read (ENODEV: between open and read).
bool is_gone(Error const& error) { return error.error_number() == ENOENT || error.error_number() == ENODEV; }

Result<void> read_processes(int dir, std::vector<int>& out) {
  Result<std::string> text = sys::read_file_at(dir, "cgroup.procs", 64 << 20);
  if (!text) {
    // A v2 group of threads only: its processes are listed by the group above it (cgroup-v2.rst "Threads").
    if (is_gone(text.error()) || text.error().error_number() == EOPNOTSUPP) return {};
    return std::move(text).take_error();
  }
  for (std::string_view const line : split(*text, '\n')) {
    std::optional<std::int64_t> const pid = parse_i64(line);
    if (pid && *pid > 0) out.push_back(static_cast<int>(*pid));
  }
  return {};
}

// One level of a walk: the group's name and what is still to be visited below it. The walk holds one descriptor and
// goes up by "..", which kernfs answers with the real parent.
struct Level {
  std::string name;
  std::vector<std::string> pending;
};

Result<void> collect(UniqueFd current, std::vector<int>& out) {
  std::vector<Level> levels;
  TRY(read_processes(current.get(), out));
  levels.push_back({"", TRY(children(current.get()))});
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.pending.empty()) {
      levels.pop_back();
      if (!levels.empty()) current = TRY(open_directory(current.get(), ".."));
      continue;
    }
    std::string name = std::move(level.pending.back());
    level.pending.pop_back();
    Result<UniqueFd> child = open_directory(current.get(), name);
    if (!child) {
      if (is_gone(child.error())) continue;
      return std::move(child).take_error();
    }
    current = std::move(child).value();
    TRY(read_processes(current.get(), out));
    levels.push_back({std::move(name), TRY(children(current.get()))});
  }
  return {};
}

// Removes what can be removed below the directory; groups that are busy stay.
Result<void> prune_below(UniqueFd current) {
  std::vector<Level> levels;
  levels.push_back({"", TRY(children(current.get()))});
  for (;;) {
    Level& level = levels.back();
    if (level.pending.empty()) {
      std::string const name = std::move(level.name);
      levels.pop_back();
      if (levels.empty()) return {};
      current = TRY(open_directory(current.get(), ".."));
      sys::raw::unlinkat(current.get(), name.c_str(), AT_REMOVEDIR);
      continue;
    }
    std::string name = std::move(level.pending.back());
    level.pending.pop_back();
    if (sys::raw::unlinkat(current.get(), name.c_str(), AT_REMOVEDIR) != -EBUSY) continue;
    Result<UniqueFd> child = open_directory(current.get(), name);
    if (!child) continue;
    current = std::move(child).value();
    std::vector<std::string> below = TRY(children(current.get()));
    levels.push_back({std::move(name), std::move(below)});
  }
}

}  // namespace

Result<std::vector<int>> processes_below(std::string const& path) {
  std::vector<int> pids;
  Result<UniqueFd> directory = open_directory(AT_FDCWD, path);
  if (!directory) {
    if (is_gone(directory.error())) return pids;
    return std::move(directory).take_error();
  }
  TRY_CTX(collect(std::move(directory).value(), pids), "read the processes of " + path);
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

Result<void> remove_group_tree(std::string const& path, std::chrono::milliseconds patience) {
  Backoff backoff(patience);
  for (;;) {
    long const result = sys::raw::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
    if (result == 0 || result == -ENOENT) return {};
    if (result != -EBUSY) return Error::from_errno(static_cast<int>(-result), "remove control group " + path);
    Result<UniqueFd> directory = open_directory(AT_FDCWD, path);
    if (directory) TRY_CTX(prune_below(std::move(directory).value()), "remove control groups below " + path);
    // Second try at once: the groups below may have been all that was in the way.
    if (sys::raw::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR) == 0) return {};
    if (backoff.wait()) continue;
    std::vector<int> const pids = TRY(processes_below(path));
    std::string text = "remove control group " + path + ": still in use";
    if (!pids.empty()) text += " by process " + std::to_string(pids.front()) + (pids.size() > 1 ? " and others" : "");
    return Error(Errc::kConflict, std::move(text), EBUSY);
  }
}

}  // namespace davit::runtime
