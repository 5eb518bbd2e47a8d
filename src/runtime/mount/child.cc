// The child's part of mounting (STYLE R15): carries out InitPlan::mounts on descriptors, inside the container's root.
#include <dirent.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cstring>

#include "runtime/init/child.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

constexpr unsigned kAtThis = abi::kAtEmptyPath;

long magic_of(int fd) {
  struct statfs info {};
  return ::fstatfs(fd, &info) < 0 ? -errno : static_cast<long>(info.f_type);
}

// mount_setattr on what is mounted at path now.
long set_attributes_at(int root, char const* path, abi::MountAttr const& attributes, bool recursive) {
  long const fd = open_in_root(root, path, Create::kNo);
  if (fd < 0) return fd;
  long const result =
      raw::mount_setattr(static_cast<int>(fd), "", kAtThis | (recursive ? abi::kAtRecursive : 0), attributes);
  raw::close(static_cast<int>(fd));
  return result;
}

long attach_tree(int tree, int target) {
  return raw::move_mount(tree, "", target, "", abi::kMoveMountFromEmptyPath | abi::kMoveMountToEmptyPath);
}

// A directory cannot be covered by a link that the image put in its place (CVE-2019-19921): proc and sysfs only mount
// on a real one, found without following the last component.
long open_ordinary_directory(MountPlan const& mount, int root, int index, Reporter const& reporter) {
  constexpr int kTries = 1000;
  for (int attempt = 0;; ++attempt) {
    long const fd = raw::openat2(root, mount.destination.c_str(), O_PATH | O_NOFOLLOW,
                                 abi::kResolveInRoot | abi::kResolveNoMagiclinks);
    if (fd == -EAGAIN && attempt < kTries) continue;
    if (fd == -ENOENT) return open_in_root(root, mount.destination.c_str(), Create::kDirectory);
    reporter.need(fd, Stage::kMountTarget, index);
    struct stat info {};
    reporter.need(raw::fstat(static_cast<int>(fd), &info), Stage::kMountTarget, index);
    if (!S_ISDIR(info.st_mode)) reporter.fail(Stage::kMountNotDirectory, ENOTDIR, index);
    return fd;
  }
}

int mount_target(MountPlan const& mount, int root, int index, Reporter const& reporter) {
  bool const directory = mount.kind == MountPlan::Kind::kFilesystem || mount.tree_is_directory;
  long const target =
      reporter.need(mount.ordinary_directory
                        ? open_ordinary_directory(mount, root, index, reporter)
                        : open_in_root(root, mount.destination.c_str(), directory ? Create::kDirectory : Create::kFile),
                    Stage::kMountTarget, index);
  // Whatever the path says, the thing found must not be a file of procfs (links and races end here).
  bool const covers_proc = magic_of(static_cast<int>(target)) == abi::kProcMagic;
  bool const is_proc = mount.type == "proc" || mount.destination == "proc";
  if (covers_proc && !mount.allowed_on_proc && !is_proc) reporter.fail(Stage::kMountOnProc, EPERM, index);
  return static_cast<int>(target);
}

constexpr std::size_t kCopyBuffer = 64 * 1024;

long copy_file(int from_dir, int to_dir, char const* name, struct stat const& info) {
  long const from = raw::openat(from_dir, name, O_RDONLY | O_NOFOLLOW);
  if (from < 0) return from;
  long const to = raw::openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL, info.st_mode & 07777);
  long result = to < 0 ? to : 0;
  char buffer[kCopyBuffer];
  while (result >= 0) {
    long const count = raw::read(static_cast<int>(from), buffer, sizeof buffer);
    if (count <= 0) {
      result = count;
      break;
    }
    for (long done = 0; done < count && result >= 0; done += result) {
      result = raw::write(static_cast<int>(to), buffer + done, static_cast<std::size_t>(count - done));
    }
  }
  if (to >= 0) raw::close(static_cast<int>(to));
  raw::close(static_cast<int>(from));
  return result;
}

long copy_tree(int from, int to, int depth);

long copy_entry(int from, int to, char const* name, int depth) {
  struct stat info {};
  if (::fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  long result = 0;
  if (S_ISLNK(info.st_mode)) {
    char target[4096];
    long const length = raw::readlinkat(from, name, target, sizeof target - 1);
    if (length < 0) return length;
    target[length] = '\0';
    result = raw::symlinkat(target, to, name);
  } else if (S_ISDIR(info.st_mode)) {
    result = raw::mkdirat(to, name, info.st_mode & 07777);
    long const from_child = raw::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    long const to_child = raw::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (result == 0) result = from_child < 0 ? from_child : to_child < 0 ? to_child : 0;
    if (result == 0) result = copy_tree(static_cast<int>(from_child), static_cast<int>(to_child), depth + 1);
    if (from_child >= 0) raw::close(static_cast<int>(from_child));
    if (to_child >= 0) raw::close(static_cast<int>(to_child));
  } else if (S_ISREG(info.st_mode)) {
    result = copy_file(from, to, name, info);
  } else {
    result = raw::mknodat(to, name, info.st_mode, static_cast<unsigned>(info.st_rdev));
  }
  if (result < 0) return result;
  result = raw::fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW);
  // chown clears set-id bits
  if (result == 0 && !S_ISLNK(info.st_mode)) result = raw::fchmodat(to, name, info.st_mode & 07777);
  return result;
}

// tmpcopyup: what the covered directory held appears in the tmpfs.
long copy_tree(int from, int to, int depth) {
  if (depth > 64) return -ELOOP;
  alignas(dirent64) char entries[4096];
  for (;;) {
    long const count = raw::call(SYS_getdents64, from, entries, sizeof entries);
    if (count <= 0) return count;
    for (long at = 0; at < count;) {
      auto const* entry = reinterpret_cast<dirent64 const*>(entries + at);
      at += entry->d_reclen;
      if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
      long const result = copy_entry(from, to, entry->d_name, depth);
      if (result < 0) return result;
    }
  }
}

void copy_up(MountPlan const& mount, int root, int covered, int index, Reporter const& reporter) {
  long const from = reporter.need(raw::openat(covered, ".", O_RDONLY | O_DIRECTORY), Stage::kMountCopyUp, index);
  long const target =
      reporter.need(open_in_root(root, mount.destination.c_str(), Create::kNo), Stage::kMountCopyUp, index);
  long const to =
      reporter.need(raw::openat(static_cast<int>(target), ".", O_RDONLY | O_DIRECTORY), Stage::kMountCopyUp, index);
  // The tmpfs takes the covered directory's owner and mode, unless its options name them.
  struct stat info {};
  reporter.need(raw::fstat(static_cast<int>(from), &info), Stage::kMountCopyUp, index);
  if (mount.data.find("mode=") == std::string::npos) {
    reporter.need(raw::fchown(static_cast<int>(to), info.st_uid, info.st_gid), Stage::kMountCopyUp, index);
    reporter.need(raw::call(SYS_fchmod, to, info.st_mode & 07777), Stage::kMountCopyUp, index);
  }
  reporter.need(copy_tree(static_cast<int>(from), static_cast<int>(to), 0), Stage::kMountCopyUp, index);
  for (long fd : {from, target, to}) raw::close(static_cast<int>(fd));
}

// A tmpfs without a mode of its own takes that of the directory that it covers.
void inherit_mode(MountPlan const& mount, int root, int covered, int index, Reporter const& reporter) {
  struct stat info {};
  reporter.need(raw::fstat(covered, &info), Stage::kMountAttributes, index);
  long const top =
      reporter.need(open_in_root(root, mount.destination.c_str(), Create::kNo), Stage::kMountAttributes, index);
  long const fd =
      reporter.need(raw::openat(static_cast<int>(top), ".", O_RDONLY | O_DIRECTORY), Stage::kMountAttributes, index);
  reporter.need(raw::call(SYS_fchmod, fd, info.st_mode & 07777), Stage::kMountAttributes, index);
  raw::close(static_cast<int>(fd));
  raw::close(static_cast<int>(top));
}

void mount_filesystem(MountPlan const& mount, int root, int index, Reporter const& reporter) {
  int const target = mount_target(mount, root, index, reporter);
  // "." is the directory that the descriptor pins: no path is walked again, and what is on top of it already is found
  // by the kernel.
  reporter.need(raw::fchdir(target), Stage::kMountTarget, index);
  reporter.need(raw::mount(mount.source.c_str(), ".", mount.type.c_str(), mount.flags,
                           mount.data.empty() ? nullptr : mount.data.c_str()),
                Stage::kMount, index);
  if (mount.copy_up) copy_up(mount, root, target, index, reporter);
  if (mount.inherit_mode) inherit_mode(mount, root, target, index, reporter);
  raw::close(target);
  if (mount.rec_set != 0 || mount.rec_clear != 0) {
    abi::MountAttr const all{mount.rec_set, mount.rec_clear, 0, 0};
    reporter.need(set_attributes_at(root, mount.destination.c_str(), all, true), Stage::kMountAttributes, index);
  }
  for (unsigned long const propagation : mount.propagation) {
    abi::MountAttr const attributes{0, 0, propagation & ~static_cast<unsigned long>(MS_REC), 0};
    reporter.need(set_attributes_at(root, mount.destination.c_str(), attributes, (propagation & MS_REC) != 0),
                  Stage::kMountAttributes, index);
  }
}

void mount_tree(MountPlan const& mount, int root, int index, Reporter const& reporter) {
  int const tree = mount.tree.get();
  if (mount.set != 0 || mount.clear != 0) {
    abi::MountAttr const attributes{mount.set, mount.clear, 0, 0};
    reporter.need(raw::mount_setattr(tree, "", kAtThis, attributes), Stage::kMountAttributes, index);
  }
  if (mount.rec_set != 0 || mount.rec_clear != 0) {
    abi::MountAttr const attributes{mount.rec_set, mount.rec_clear, 0, 0};
    reporter.need(raw::mount_setattr(tree, "", kAtThis | abi::kAtRecursive, attributes), Stage::kMountAttributes,
                  index);
  }
  int const target = mount_target(mount, root, index, reporter);
  reporter.need(attach_tree(tree, target), Stage::kMount, index);
  raw::close(target);
  // After attaching: an attached tree joins the propagation of the place it is attached to.
  for (unsigned long const propagation : mount.propagation) {
    abi::MountAttr const attributes{0, 0, propagation & ~static_cast<unsigned long>(MS_REC), 0};
    unsigned const recursive = (propagation & MS_REC) != 0 ? abi::kAtRecursive : 0;
    reporter.need(raw::mount_setattr(tree, "", kAtThis | recursive, attributes), Stage::kMountAttributes, index);
  }
}

void make_link(MountPlan const& mount, int root, int index, Reporter const& reporter) {
  std::size_t const slash = mount.destination.rfind('/');
  PathBuffer parent;
  parent.text[0] = '\0';
  if (!parent.append(mount.destination.c_str(), slash)) reporter.fail(Stage::kMountTarget, ENAMETOOLONG, index);
  long const dir = reporter.need(open_in_root(root, parent.c_str(), Create::kDirectory), Stage::kMountTarget, index);
  long const made = raw::symlinkat(mount.source.c_str(), static_cast<int>(dir), mount.destination.c_str() + slash + 1);
  if (made < 0 && made != -EEXIST) reporter.fail(Stage::kMount, -made, index);
  raw::close(static_cast<int>(dir));
}

struct DeviceLink {
  char const* path;
  char const* target;
};
// OCI runtime-spec runtime-linux.md, "Dev symbolic links"; devpts' own ptmx
constexpr DeviceLink kDeviceLinks[] = {{"dev/fd", "/proc/self/fd"},
                                       {"dev/stdin", "/proc/self/fd/0"},
                                       {"dev/stdout", "/proc/self/fd/1"},
                                       {"dev/stderr", "/proc/self/fd/2"},
                                       {"dev/ptmx", "pts/ptmx"}};

void make_device(DevicePlan const& device, int root, int index, Reporter const& reporter) {
  char const* const path = device.path.c_str();
  char const* const slash = std::strrchr(path, '/');
  PathBuffer parent;
  parent.text[0] = '\0';
  if (!parent.append(path, slash == nullptr ? 0 : static_cast<std::size_t>(slash - path))) {
    reporter.fail(Stage::kDevice, ENAMETOOLONG, index);
  }
  char const* const name = slash == nullptr ? path : slash + 1;
  if (device.tree.valid()) {
    long const target = reporter.need(open_in_root(root, path, Create::kFile), Stage::kDevice, index);
    reporter.need(attach_tree(device.tree.get(), static_cast<int>(target)), Stage::kDevice, index);
    raw::close(static_cast<int>(target));
    return;
  }
  long const dir = reporter.need(open_in_root(root, parent.c_str(), Create::kDirectory), Stage::kDevice, index);
  long made = raw::mknodat(static_cast<int>(dir), name, device.mode, static_cast<unsigned>(device.device));
  if (made == -EEXIST) {
    struct stat info {};
    bool const same = ::fstatat(static_cast<int>(dir), name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                      (info.st_mode & S_IFMT) == (device.mode & S_IFMT) && info.st_rdev == device.device;
    if (same) made = 0;
  }
  reporter.need(made, Stage::kDevice, index);
  // A new node is root's already.
  if (device.uid != 0 || device.gid != 0) {
    reporter.need(raw::fchownat(static_cast<int>(dir), name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW),
                  Stage::kDevice, index);
  }
  raw::close(static_cast<int>(dir));
}

// /dev/null of the host, checked to be the real one (CVE-2025-31133: a container's own may be a link).
long host_null() {
  long const fd = raw::openat(AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW);
  struct stat info {};
  if (fd < 0) return fd;
  long const found = raw::fstat(static_cast<int>(fd), &info);
  if (found < 0) return found;
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) return -ENXIO;
  return fd;
}

void mask_path(char const* path, int root, int& empty, int index, Reporter const& reporter) {
  long const target = open_in_root(root, path, Create::kNo);
  if (target == -ENOENT || target == -ENOTDIR) return;  // nothing to hide
  reporter.need(target, Stage::kMaskedPath, index);
  struct stat info {};
  reporter.need(raw::fstat(static_cast<int>(target), &info), Stage::kMaskedPath, index);
  if (!S_ISDIR(info.st_mode)) {
    long const null = reporter.need(host_null(), Stage::kMaskedPath, index);
    long const tree = reporter.need(raw::open_tree(static_cast<int>(null), "", abi::kOpenTreeClone | kAtThis),
                                    Stage::kMaskedPath, index);
    reporter.need(attach_tree(static_cast<int>(tree), static_cast<int>(target)), Stage::kMaskedPath, index);
    raw::close(static_cast<int>(tree));
    raw::close(static_cast<int>(null));
  } else if (empty < 0) {
    // One empty read-only tmpfs serves every masked directory.
    reporter.need(raw::fchdir(static_cast<int>(target)), Stage::kMaskedPath, index);
    reporter.need(
        raw::mount("tmpfs", ".", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "nr_blocks=1,nr_inodes=1"),
        Stage::kMaskedPath, index);
    empty = static_cast<int>(reporter.need(open_in_root(root, path, Create::kNo), Stage::kMaskedPath, index));
  } else {
    long const tree =
        reporter.need(raw::open_tree(empty, "", abi::kOpenTreeClone | kAtThis), Stage::kMaskedPath, index);
    reporter.need(attach_tree(static_cast<int>(tree), static_cast<int>(target)), Stage::kMaskedPath, index);
    raw::close(static_cast<int>(tree));
  }
  raw::close(static_cast<int>(target));
}

void make_readonly(char const* path, int root, int index, Reporter const& reporter) {
  long const target = open_in_root(root, path, Create::kNo);
  if (target == -ENOENT || target == -ENOTDIR) return;
  reporter.need(target, Stage::kReadonlyPath, index);
  long const tree =
      reporter.need(raw::open_tree(static_cast<int>(target), "", abi::kOpenTreeClone | kAtThis | abi::kAtRecursive),
                    Stage::kReadonlyPath, index);
  abi::MountAttr const readonly{abi::kMountAttrRdonly, 0, 0, 0};
  reporter.need(raw::mount_setattr(static_cast<int>(tree), "", kAtThis | abi::kAtRecursive, readonly),
                Stage::kReadonlyPath, index);
  reporter.need(attach_tree(static_cast<int>(tree), static_cast<int>(target)), Stage::kReadonlyPath, index);
  raw::close(static_cast<int>(tree));
  raw::close(static_cast<int>(target));
}

}  // namespace

void make_mounts(InitPlan const& plan, int root, Reporter const& reporter) {
  int index = 0;
  for (MountPlan const& mount : plan.mounts) {
    switch (mount.kind) {
      case MountPlan::Kind::kFilesystem:
        mount_filesystem(mount, root, index, reporter);
        break;
      case MountPlan::Kind::kTree:
        mount_tree(mount, root, index, reporter);
        break;
      case MountPlan::Kind::kSymlink:
        make_link(mount, root, index, reporter);
        break;
    }
    ++index;
  }
}

void make_devices(InitPlan const& plan, int root, Reporter const& reporter) {
  if (!plan.setup_dev) return;
  int index = 0;
  for (DevicePlan const& device : plan.devices) make_device(device, root, index++, reporter);
  long const dev = reporter.need(open_in_root(root, "dev", Create::kDirectory), Stage::kDeviceLink, 0);
  for (DeviceLink const& link : kDeviceLinks) {
    long made = raw::symlinkat(link.target, static_cast<int>(dev), link.path + 4);
    if (made < 0 && made != -EEXIST) reporter.fail(Stage::kDeviceLink, -made, static_cast<int>(&link - kDeviceLinks));
  }
  // /proc/kcore is there on most kernels only
  long const kcore = raw::openat2(root, "proc/kcore", O_PATH, abi::kResolveInRoot | abi::kResolveNoMagiclinks);
  if (kcore >= 0) {
    raw::close(static_cast<int>(kcore));
    (void)raw::symlinkat("/proc/kcore", static_cast<int>(dev), "core");
  }
  raw::close(static_cast<int>(dev));
}

void finish_mounts(InitPlan const& plan, int root, Reporter const& reporter) {
  int index = 0;
  abi::MountAttr const readonly{abi::kMountAttrRdonly, 0, 0, 0};
  for (MountPlan const& mount : plan.mounts) {
    if (mount.readonly_at_end) {
      reporter.need(set_attributes_at(root, mount.destination.c_str(), readonly, mount.recursive),
                    Stage::kMountAttributes, index);
    }
    ++index;
  }
  index = 0;
  for (std::string const& path : plan.readonly_paths) make_readonly(path.c_str(), root, index++, reporter);
  index = 0;
  int empty = -1;
  for (std::string const& path : plan.masked_paths) mask_path(path.c_str(), root, empty, index++, reporter);
  if (empty >= 0) raw::close(empty);
  if (plan.readonly_root) reporter.need(raw::mount_setattr(root, "", kAtThis, readonly), Stage::kReadonlyRoot);
}

}  // namespace davit::runtime
