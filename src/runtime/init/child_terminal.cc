#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cstring>

#include "runtime/init/child.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

constexpr long kDevptsMagic = 0x1cd1;

// The multiplexer of the container's devpts, checked to be that and nothing that the image put there.
int open_multiplexer(int root, Reporter const& reporter) {
  long const fd = raw::openat2(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY,
                               abi::kResolveInRoot | abi::kResolveNoMagiclinks | abi::kResolveNoSymlinks);
  reporter.need(fd, Stage::kConsole);
  struct stat info {};
  struct statfs fs {};
  reporter.need(raw::fstat(static_cast<int>(fd), &info), Stage::kConsole);
  bool const genuine = S_ISCHR(info.st_mode) && info.st_rdev == makedev(5, 2) &&
                       ::fstatfs(static_cast<int>(fd), &fs) == 0 && fs.f_type == kDevptsMagic;
  if (!genuine) reporter.fail(Stage::kConsole, ENOTTY);
  return static_cast<int>(fd);
}

// One message with the descriptor as SCM_RIGHTS, as console sockets take it (unix(7)).
void send_master(int socket, int master, Reporter const& reporter) {
  char name[] = "/dev/ptmx";
  iovec data{name, sizeof name - 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &master, sizeof master);
  reporter.need(raw::call(SYS_sendmsg, socket, &message, MSG_NOSIGNAL), Stage::kConsoleSend);
}

// The bind is made from the slave's descriptor: no path of the container is trusted (CVE-2025-52565).
void bind_console(int root, int slave, Reporter const& reporter) {
  // Made first, then opened without following: a link of the image there could lead to a file of procfs.
  long const made = open_in_root(root, "dev/console", Create::kFile);
  if (made >= 0) raw::close(static_cast<int>(made));
  long const target = reporter.need(
      raw::openat2(root, "dev/console", O_PATH | O_NOFOLLOW, abi::kResolveInRoot | abi::kResolveNoMagiclinks),
      Stage::kConsole);
  struct stat info {};
  reporter.need(raw::fstat(static_cast<int>(target), &info), Stage::kConsole);
  if (S_ISLNK(info.st_mode)) reporter.fail(Stage::kConsole, ELOOP);
  long const tree = reporter.need(raw::open_tree(slave, "", abi::kOpenTreeClone | abi::kAtEmptyPath), Stage::kConsole);
  reporter.need(raw::move_mount(static_cast<int>(tree), "", static_cast<int>(target), "",
                                abi::kMoveMountFromEmptyPath | abi::kMoveMountToEmptyPath),
                Stage::kConsole);
  raw::close(static_cast<int>(tree));
  raw::close(static_cast<int>(target));
}

}  // namespace

void set_up_terminal(ProcessPlan const& process, int root, Console console, int console_socket,
                     Reporter const& reporter) {
  int const master = open_multiplexer(root, reporter);
  int const unlock = 0;
  reporter.need(raw::ioctl(master, TIOCSPTLCK, &unlock), Stage::kConsole);
  long const slave =
      reporter.need(raw::call(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), Stage::kConsole);
  if (process.console_size) {
    winsize size{};
    size.ws_row = process.console_size->height;
    size.ws_col = process.console_size->width;
    reporter.need(raw::ioctl(master, TIOCSWINSZ, &size), Stage::kConsole);
  }
  if (console == Console::kBind) bind_console(root, static_cast<int>(slave), reporter);
  send_master(console_socket, master, reporter);
  raw::close(master);
  for (int fd = 0; fd < 3; ++fd) reporter.need(raw::call(SYS_dup3, slave, fd, 0), Stage::kConsole);
  reporter.need(raw::ioctl(0, TIOCSCTTY, nullptr), Stage::kConsole);
  if (slave > 2) raw::close(static_cast<int>(slave));
}

}  // namespace davit::runtime
