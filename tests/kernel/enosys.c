// enosys NAME[,NAME...] -- COMMAND...: runs a command for which these system calls do not exist, as on an older kernel.
// The name mfd_exec stands for a memfd_create that does not know its flag MFD_EXEC (before Linux 6.3).
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
  char const* name;
  unsigned number;
} kCalls[] = {
    {"clone3", 435},
    {"close_range", 436},
    {"execveat", SYS_execveat},
    {"faccessat2", 439},
    {"fsconfig", 431},
    {"fsmount", 432},
    {"fsopen", 430},
    {"keyctl", SYS_keyctl},
    {"memfd_create", SYS_memfd_create},
    {"mount_setattr", 442},
    {"move_mount", 429},
    {"open_tree", 428},
    {"openat2", 437},
    {"pidfd_getfd", 438},
    {"pidfd_open", 434},
    {"pidfd_send_signal", 424},
    {"seccomp", SYS_seccomp},
    {"statx", SYS_statx},
    {"waitid", SYS_waitid},
    {"splice", SYS_splice},
    {"sched_setattr", SYS_sched_setattr},
};

int main(int argc, char** argv) {
  struct sock_filter code[64];
  unsigned short used = 0;
  if (argc < 4 || strcmp(argv[2], "--") != 0) {
    fprintf(stderr, "usage: enosys NAME[,NAME...] -- COMMAND...\n");
    return 2;
  }
  code[used++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (char* name = strtok(argv[1], ","); name != NULL; name = strtok(NULL, ",")) {
    if (used > 55) return 2;
    if (strcmp(name, "mfd_exec") == 0) {
      code[used++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 4);
      code[used++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]));
      code[used++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 16, 0, 1);
      code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL);
      code[used++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
      continue;
    }
    size_t i = 0;
    while (i < sizeof kCalls / sizeof kCalls[0] && strcmp(kCalls[i].name, name) != 0) ++i;
    if (i == sizeof kCalls / sizeof kCalls[0]) {
      fprintf(stderr, "enosys: unknown system call %s\n", name);
      return 2;
    }
    code[used++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCalls[i].number, 0, 1);
    code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
  }
  code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {used, code};
  // Root keeps its privileges: without no_new_privs, loading needs CAP_SYS_ADMIN.
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
    perror("enosys: load the filter");
    return 2;
  }
  execvp(argv[3], argv + 3);
  perror(argv[3]);
  return 127;
}
