// Mount kernel constants that glibc 2.36's headers lack or that clash between <sys/mount.h> and <linux/mount.h>.
// mount(2); include/uapi/linux/mount.h. First kernel in brackets.
#pragma once

#include <cstdint>

namespace davit::sys::abi {

// openat2(2) [5.6]
struct OpenHow {
  std::uint64_t flags;
  std::uint64_t mode;
  std::uint64_t resolve;
};
inline constexpr std::uint64_t kResolveNoXdev = 0x01;
inline constexpr std::uint64_t kResolveNoMagiclinks = 0x02;
inline constexpr std::uint64_t kResolveNoSymlinks = 0x04;
inline constexpr std::uint64_t kResolveBeneath = 0x08;
inline constexpr std::uint64_t kResolveInRoot = 0x10;

// fsopen(2), fsconfig(2), fsmount(2) [5.2]
inline constexpr unsigned kFsopenCloexec = 1;
inline constexpr unsigned kFsmountCloexec = 1;
inline constexpr unsigned kFsconfigSetFlag = 0;
inline constexpr unsigned kFsconfigSetString = 1;
inline constexpr unsigned kFsconfigSetFd = 5;
inline constexpr unsigned kFsconfigCmdCreate = 6;

// open_tree(2) [5.2]
inline constexpr unsigned kOpenTreeClone = 1;
inline constexpr unsigned kOpenTreeCloexec = 02000000;  // O_CLOEXEC
inline constexpr unsigned kAtRecursive = 0x8000;
inline constexpr unsigned kAtEmptyPath = 0x1000;
inline constexpr unsigned kAtSymlinkNofollow = 0x100;

// move_mount(2) [5.2]
inline constexpr unsigned kMoveMountFromEmptyPath = 0x04;
inline constexpr unsigned kMoveMountToEmptyPath = 0x40;
inline constexpr unsigned kMoveMountToSymlinks = 0x10;  // follow links of the target

// mount_setattr(2) [5.12]
struct MountAttr {
  std::uint64_t set;
  std::uint64_t clear;
  std::uint64_t propagation;
  std::uint64_t userns_fd;
};
inline constexpr std::uint64_t kMountAttrRdonly = 0x01;
inline constexpr std::uint64_t kMountAttrNosuid = 0x02;
inline constexpr std::uint64_t kMountAttrNodev = 0x04;
inline constexpr std::uint64_t kMountAttrNoexec = 0x08;
inline constexpr std::uint64_t kMountAttrAtimeMask = 0x70;
inline constexpr std::uint64_t kMountAttrRelatime = 0x00;
inline constexpr std::uint64_t kMountAttrNoatime = 0x10;
inline constexpr std::uint64_t kMountAttrStrictatime = 0x20;
inline constexpr std::uint64_t kMountAttrNodiratime = 0x80;
inline constexpr std::uint64_t kMountAttrIdmap = 0x100000;
inline constexpr std::uint64_t kMountAttrNosymfollow = 0x200000;  // [5.14]

// statfs(2) f_type
inline constexpr long kProcMagic = 0x9fa0;
inline constexpr long kSysfsMagic = 0x62656572;
inline constexpr long kCgroup2Magic = 0x63677270;
inline constexpr long kCgroupMagic = 0x27e0eb;
inline constexpr long kTmpfsMagic = 0x01021994;
inline constexpr long kNsfsMagic = 0x6e736673;

}  // namespace davit::sys::abi
