#include <cstring>

#include "runtime/init/child.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace raw = sys::raw;
namespace abi = sys::abi;

void Reporter::fail(Stage stage, long error, int index) const {
  Report const report{stage, static_cast<std::int32_t>(error), index};
  if (sync_ >= 0) (void)raw::write(sync_, &report, sizeof report);
  raw::exit_now(1);
}

bool PathBuffer::append(char const* piece, std::size_t length) {
  if (size + length + 1 > sizeof text) return false;
  std::memcpy(text + size, piece, length);
  size += length;
  text[size] = '\0';
  return true;
}

namespace {

constexpr std::uint64_t kInside = abi::kResolveInRoot | abi::kResolveNoMagiclinks;
constexpr int kMaxLinks = 40;  // as the kernel: path_resolution(7)

long open_beneath(int root, char const* path) {
  constexpr int kTries = 1000;  // somebody who renames all the time does not hold us for ever
  for (int attempt = 0;; ++attempt) {
    long const fd = raw::openat2(root, *path == '\0' ? "." : path, O_PATH, kInside);
    if (fd != -EAGAIN || attempt == kTries) return fd;  // EAGAIN: a rename raced with the walk
  }
}

// Replaces the component [begin, end) of path, which is a link, by its target; an absolute target starts from the root.
bool splice_link(PathBuffer& path, std::size_t begin, std::size_t end, char const* target, std::size_t length) {
  PathBuffer out;
  out.text[0] = '\0';
  if (*target != '/' && !out.append(path.text, begin)) return false;
  if (!out.append(target, length)) return false;
  if (!out.append(path.text + end, path.size - end)) return false;
  path = out;
  return true;
}

// Makes the component name of parent when it is missing. -EEXIST: something is there.
long make_component(int parent, char const* name, bool last, Create create) {
  if (!last || create == Create::kDirectory) return raw::mkdirat(parent, name, 0755);
  long const fd = raw::openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0644);
  if (fd >= 0) raw::close(static_cast<int>(fd));
  return fd < 0 ? fd : 0;
}

}  // namespace

// NOLINTNEXTLINE(readability-function-cognitive-complexity): one walk over one buffer, whose marks every step changes
long open_in_root(int root, char const* wanted, Create create) {
  long const found = open_beneath(root, wanted);
  if (found != -ENOENT || create == Create::kNo) return found;

  PathBuffer path;
  path.text[0] = '\0';
  if (!path.append(wanted, std::strlen(wanted))) return -ENAMETOOLONG;
  int links = 0;
  std::size_t begin = 0;
  while (begin < path.size) {
    while (path.text[begin] == '/') ++begin;
    if (begin >= path.size) break;
    std::size_t end = begin;
    while (end < path.size && path.text[end] != '/') ++end;
    bool const last = path.text[end] == '\0' || path.text[end + std::strspn(path.text + end, "/")] == '\0';

    char const saved = path.text[end];
    path.text[end] = '\0';
    long const here = open_beneath(root, path.text);
    if (here >= 0) {
      raw::close(static_cast<int>(here));
      path.text[end] = saved;
      begin = end;
      continue;
    }
    if (here != -ENOENT) return here;
    char const before = path.text[begin == 0 ? 0 : begin - 1];
    if (begin > 0) path.text[begin - 1] = '\0';
    long const parent = open_beneath(root, begin == 0 ? "" : path.text);
    if (begin > 0) path.text[begin - 1] = before;
    if (parent < 0) return parent;
    long made = make_component(static_cast<int>(parent), path.text + begin, last, create);
    char target[4096];
    long length = -EINVAL;
    if (made == -EEXIST) length = raw::readlinkat(static_cast<int>(parent), path.text + begin, target, sizeof target);
    raw::close(static_cast<int>(parent));
    path.text[end] = saved;
    if (made == 0) {
      begin = end;
    } else if (made == -EEXIST && length > 0 && ++links <= kMaxLinks) {
      if (!splice_link(path, begin, end, target, static_cast<std::size_t>(length))) return -ENAMETOOLONG;
      begin = 0;  // start again: the link's target has components of its own
    } else if (made != -EEXIST || length != -EINVAL) {
      return made == -EEXIST ? -ELOOP : made;
    }
    // EEXIST and no link: somebody made it meanwhile; look again.
  }
  return open_beneath(root, path.text);
}

}  // namespace davit::runtime
