// probe: the few questions about its own process that busybox cannot answer. Linked statically and put into every test
// container as /bin/probe; conftest.py compiles it, and tests that need it are skipped where there is no C compiler.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct attributes {  // sched_setattr(2)
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

static int clocks(void) {
  struct timespec monotonic, boottime;
  clock_gettime(CLOCK_MONOTONIC, &monotonic);
  clock_gettime(CLOCK_BOOTTIME, &boottime);
  printf("%lld %lld\n", (long long)monotonic.tv_sec, (long long)boottime.tv_sec);
  return 0;
}

static int scheduler(void) {
  struct attributes now = {.size = sizeof now};
  if (syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) != 0) return 1;
  printf("policy=%u flags=%llu nice=%d priority=%u\n", now.policy, (unsigned long long)now.flags, now.nice, now.priority);
  return 0;
}

// NR ARG...: makes the call and prints what it returned, and errno. Arguments are numbers, or text when they start with '='.
static int raw_call(int count, char** words) {
  long arguments[6] = {0};
  for (int i = 1; i < count && i <= 6; ++i)
    arguments[i - 1] = words[i][0] == '=' ? (long)(words[i] + 1) : (long)strtoull(words[i], NULL, 0);
  errno = 0;
  long answer = syscall(strtol(words[0], NULL, 0), arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
  printf("%ld %d\n", answer, errno);
  return 0;
}

// Descriptors that are open beyond 0, 1 and 2, with what they point to.
static int descriptors(void) {
  char path[64], target[512];
  for (int fd = 3; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = 0;
    printf("%d %s\n", fd, target);
  }
  return 0;
}

// Every open descriptor that is a directory, and the cwd, tried as a way out: is PATH (absolute, host's) reachable by '..'?
static int escape(char const* path) {
  for (int fd = -1; fd < 1024; ++fd) {
    char relative[4096] = "";
    for (int i = 0; i < 40; ++i) strcat(relative, "../");
    strncat(relative, path + 1, 3000);
    struct stat information;
    if (fstatat(fd < 0 ? AT_FDCWD : fd, relative, &information, 0) == 0) {
      printf("escaped by %d\n", fd);
      return 0;
    }
  }
  puts("contained");
  return 0;
}

// Allocates and touches N KiB, says so, and waits.
static int eat(long kib) {
  char* memory = malloc((size_t)kib * 1024);
  if (!memory) return 1;
  for (long i = 0; i < kib; i += 4) memory[i * 1024] = 1;
  puts("eaten");
  fflush(stdout);
  pause();
  return 0;
}

// sd_notify(3): one datagram to $NOTIFY_SOCKET.
static int notify(char const* text) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char const* path = getenv("NOTIFY_SOCKET");
  if (!path) return 3;
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return sendto(fd, text, strlen(text), 0, (struct sockaddr*)&address, sizeof address) > 0 ? 0 : 4;
}

int main(int count, char** words) {
  char const* what = count > 1 ? words[1] : "";
  if (!strcmp(what, "clocks")) return clocks();
  if (!strcmp(what, "scheduler")) return scheduler();
  if (!strcmp(what, "call") && count > 2) return raw_call(count - 2, words + 2);
  if (!strcmp(what, "descriptors")) return descriptors();
  if (!strcmp(what, "escape") && count > 2) return escape(words[2]);
  if (!strcmp(what, "eat") && count > 2) return eat(atol(words[2]));
  if (!strcmp(what, "notify") && count > 2) return notify(words[2]);
  if (!strcmp(what, "ioprio")) {
    long value = syscall(SYS_ioprio_get, 1, 0);
    printf("%ld %ld\n", value >> 13, value & 7);
    return 0;
  }
  if (!strcmp(what, "key") && count > 2) {  // keyctl(2): KEYCTL_SEARCH in the session keyring
    long key = syscall(SYS_keyctl, 10, -3, "user", words[2], 0);
    puts(key < 0 ? "absent" : "found");
    return 0;
  }
  if (!strcmp(what, "dumpable")) {
    printf("%d\n", prctl(PR_GET_DUMPABLE));
    return 0;
  }
  fprintf(stderr, "probe: clocks|scheduler|call|descriptors|escape|eat|notify|ioprio|dumpable\n");
  return 2;
}
