// davit-init: PID 1 of a container that asks for one (--init). Runs one program in the foreground, passes signals on to
// it, reaps whatever else ends, and exits as the program did. Takes tini's options, because images pass them.
//
// Plain C library calls and no C++ runtime: the program is mapped into every such container.
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

namespace {

constexpr char kVersion[] = "davit-init version 0.1.0\n";
constexpr char kUsage[] =
    "usage: davit-init [options] [--] PROGRAM [ARGUMENT...]\n"
    "  --version      print the version\n"
    "  -h             print this\n"
    "  -s             reap as a child subreaper (when not PID 1)\n"
    "  -p SIGNAL      get SIGNAL when the parent ends\n"
    "  -g             pass signals to the program's process group\n"
    "  -e STATUS      report STATUS of the program as 0; may be repeated\n"
    "  -w, -v         accepted for compatibility with tini: warnings are not printed\n";

// exec(3) in a shell: found but not executable, not found.
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

struct Options {
  bool subreaper = false;
  bool whole_group = false;
  int parent_death_signal = 0;
  bool zero_status[256] = {};
  char** program = nullptr;
};

void print(int fd, char const* text) {
  // Nothing is left to do where even this fails.
  if (write(fd, text, strlen(text)) < 0) return;
}

[[noreturn]] void die(char const* what, char const* detail) {
  print(2, "davit-init: ");
  print(2, what);
  print(2, ": ");
  print(2, detail);
  print(2, "\n");
  _exit(1);
}

int parse_number(char const* text, int limit) {
  char* end = nullptr;
  long const value = strtol(text, &end, 10);
  return *text != '\0' && *end == '\0' && value >= 0 && value <= limit ? static_cast<int>(value) : -1;
}

int parse_signal(char const* text) {
  int const number = parse_number(text, SIGRTMAX);
  if (number > 0) return number;
  if (strncmp(text, "SIG", 3) == 0) text += 3;
  for (int signal = 1; signal < NSIG; ++signal) {
    char const* const name = sigabbrev_np(signal);
    if (name != nullptr && strcmp(name, text) == 0) return signal;
  }
  return -1;
}

Options parse(int argc, char** argv) {
  Options options;
  if (argc > 1 && strcmp(argv[1], "--version") == 0) {
    print(1, kVersion);
    _exit(0);
  }
  for (int letter; (letter = getopt(argc, argv, "+hsp:ge:wv")) != -1;) {
    switch (letter) {
      case 'h':
        print(1, kUsage), _exit(0);
      case 's':
        options.subreaper = true;
        break;
      case 'g':
        options.whole_group = true;
        break;
      case 'w':
      case 'v':
        break;
      case 'p':
        options.parent_death_signal = parse_signal(optarg);
        if (options.parent_death_signal < 0) die("-p: not a signal", optarg);
        break;
      case 'e': {
        int const status = parse_number(optarg, 255);
        if (status < 0) die("-e: not a status from 0 to 255", optarg);
        options.zero_status[status] = true;
        break;
      }
      default:
        print(2, kUsage), _exit(1);
    }
  }
  if (optind >= argc) print(2, kUsage), _exit(1);
  options.program = argv + optind;
  return options;
}

// Signals that report a fault of this very process, or that the terminal sends to it while it hands over the
// foreground, keep their meaning.
sigset_t forwarded_signals() {
  sigset_t signals;
  sigfillset(&signals);
  for (int const own : {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU}) {
    sigdelset(&signals, own);
  }
  return signals;
}

[[noreturn]] void run_program(char** program, sigset_t const& original_mask) {
  // Its own group in the terminal's foreground, so that ctrl-C reaches it and not its init. Without a terminal
  // (ENOTTY, ENXIO) there is nothing to hand over.
  if (setpgid(0, 0) < 0) die("setpgid", strerror(errno));
  (void)tcsetpgrp(0, getpgrp());
  signal(SIGTTIN, SIG_DFL);
  signal(SIGTTOU, SIG_DFL);
  sigprocmask(SIG_SETMASK, &original_mask, nullptr);
  execvp(program[0], program);
  int const error_number = errno;
  print(2, "davit-init: exec ");
  print(2, program[0]);
  print(2, ": ");
  print(2, strerror(error_number));
  print(2, "\n");
  _exit(error_number == ENOENT ? kNotFound : kCannotExecute);
}

// Reaps everything that has ended; the program's status once it is among them, else -1.
int reap(pid_t program) {
  int result = -1;
  for (;;) {
    int status = 0;
    pid_t const pid = waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return result;
    if (pid == program) result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options const options = parse(argc, argv);
  if (options.parent_death_signal > 0 && prctl(PR_SET_PDEATHSIG, options.parent_death_signal) < 0) {
    die("prctl PR_SET_PDEATHSIG", strerror(errno));
  }
  if (options.subreaper && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) die("prctl PR_SET_CHILD_SUBREAPER", strerror(errno));
  sigset_t const waited = forwarded_signals();
  sigset_t original_mask;
  sigprocmask(SIG_SETMASK, &waited, &original_mask);
  // Handing over the foreground from the background would stop us.
  signal(SIGTTIN, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);

  pid_t const program = fork();  // rule: syscall because this program links none of our libraries
  if (program < 0) die("fork", strerror(errno));
  if (program == 0) run_program(options.program, original_mask);
  for (;;) {
    int const received = sigwaitinfo(&waited, nullptr);
    if (received == SIGCHLD) {
      int const status = reap(program);
      if (status >= 0) return options.zero_status[status & 255] ? 0 : status;
    } else if (received > 0) {
      // ESRCH: the program has ended and SIGCHLD is on its way.
      (void)kill(options.whole_group ? -program : program, received);
    }
  }
}
