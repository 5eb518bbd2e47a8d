#include "runtime/protect.h"

#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace abi = sys::abi;
namespace raw = sys::raw;

namespace {

constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

bool is_protected(int self) {
  struct statvfs info {};
  if (::fstatvfs(self, &info) == 0 && (info.f_flag & ST_RDONLY) != 0) return true;
  return raw::fcntl(self, F_GET_SEALS, 0) == kAllSeals;
}

// A detached copy of the file's mount that is read-only for good: nobody can reach it to change that.
long readonly_copy(int self) {
  long const tree = raw::open_tree(self, "", abi::kOpenTreeClone | abi::kAtEmptyPath);
  if (tree < 0) return tree;
  abi::MountAttr const readonly{abi::kMountAttrRdonly, 0, 0, 0};
  long const set = raw::mount_setattr(static_cast<int>(tree), "", abi::kAtEmptyPath, readonly);
  return set < 0 ? set : tree;
}

Result<UniqueFd> sealed_copy(int self) {
  constexpr unsigned kCloexec = 1, kAllowSealing = 2, kExec = 16;  // memfd_create(2)
  long fd = raw::call(SYS_memfd_create, "davit-runtime", kCloexec | kAllowSealing | kExec);
  if (fd == -EINVAL) fd = raw::call(SYS_memfd_create, "davit-runtime", kCloexec | kAllowSealing);  // before Linux 6.3
  if (fd < 0) return Error::from_errno(static_cast<int>(-fd), "memfd_create");
  UniqueFd copy(static_cast<int>(fd));
  UniqueFd const source = TRY(sys::open("/proc/self/exe", O_RDONLY));
  off_t left = TRY(sys::fstat(self)).st_size;
  while (left > 0) {
    ssize_t const sent = ::sendfile(copy.get(), source.get(), nullptr, static_cast<std::size_t>(left));
    if (sent <= 0) return Error::from_errno(errno, "copy the runtime's binary");
    left -= sent;
  }
  long const sealed = raw::fcntl(copy.get(), F_ADD_SEALS, kAllSeals);
  if (sealed < 0) return Error::from_errno(static_cast<int>(-sealed), "seal the copy of the runtime's binary");
  return copy;
}

}  // namespace

Result<void> protect_binary(char** argv) {
  UniqueFd const self = TRY(sys::open("/proc/self/exe", O_PATH));
  UniqueFd const readable = TRY(sys::open("/proc/self/exe", O_RDONLY));
  if (is_protected(readable.get())) return {};
  UniqueFd copy;
  if (long const tree = readonly_copy(self.get()); tree >= 0) {
    copy = UniqueFd(static_cast<int>(tree));
  } else {
    copy = TRY_CTX(sealed_copy(readable.get()), "protect the runtime's binary");
  }
  long const result = raw::execveat(copy.get(), "", argv, ::environ, AT_EMPTY_PATH);
  return Error::from_errno(static_cast<int>(-result), "execute the protected copy of the runtime");
}

}  // namespace davit::runtime
