#include "runtime/names.h"

#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/resource.h>

#include <array>
#include <csignal>

#include "base/text.h"

namespace davit::runtime {

namespace {

struct Entry {
  std::string_view name;
  int number;
};

// signal(7). Aliases come after the name that signal_name() prints.
constexpr std::array kSignals{
    Entry{"HUP", SIGHUP},   Entry{"INT", SIGINT},       Entry{"QUIT", SIGQUIT}, Entry{"ILL", SIGILL},
    Entry{"TRAP", SIGTRAP}, Entry{"ABRT", SIGABRT},     Entry{"BUS", SIGBUS},   Entry{"FPE", SIGFPE},
    Entry{"KILL", SIGKILL}, Entry{"USR1", SIGUSR1},     Entry{"SEGV", SIGSEGV}, Entry{"USR2", SIGUSR2},
    Entry{"PIPE", SIGPIPE}, Entry{"ALRM", SIGALRM},     Entry{"TERM", SIGTERM}, Entry{"STKFLT", SIGSTKFLT},
    Entry{"CHLD", SIGCHLD}, Entry{"CONT", SIGCONT},     Entry{"STOP", SIGSTOP}, Entry{"TSTP", SIGTSTP},
    Entry{"TTIN", SIGTTIN}, Entry{"TTOU", SIGTTOU},     Entry{"URG", SIGURG},   Entry{"XCPU", SIGXCPU},
    Entry{"XFSZ", SIGXFSZ}, Entry{"VTALRM", SIGVTALRM}, Entry{"PROF", SIGPROF}, Entry{"WINCH", SIGWINCH},
    Entry{"IO", SIGIO},     Entry{"PWR", SIGPWR},       Entry{"SYS", SIGSYS},   Entry{"IOT", SIGABRT},
    Entry{"CLD", SIGCHLD},  Entry{"POLL", SIGIO},
};

constexpr int kFirstRealTime = 34;
constexpr int kLastRealTime = 64;

constexpr std::array kRlimits{
    Entry{"RLIMIT_AS", RLIMIT_AS},
    Entry{"RLIMIT_CORE", RLIMIT_CORE},
    Entry{"RLIMIT_CPU", RLIMIT_CPU},
    Entry{"RLIMIT_DATA", RLIMIT_DATA},
    Entry{"RLIMIT_FSIZE", RLIMIT_FSIZE},
    Entry{"RLIMIT_LOCKS", RLIMIT_LOCKS},
    Entry{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    Entry{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    Entry{"RLIMIT_NICE", RLIMIT_NICE},
    Entry{"RLIMIT_NOFILE", RLIMIT_NOFILE},
    Entry{"RLIMIT_NPROC", RLIMIT_NPROC},
    Entry{"RLIMIT_RSS", RLIMIT_RSS},
    Entry{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    Entry{"RLIMIT_RTTIME", RLIMIT_RTTIME},
    Entry{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    Entry{"RLIMIT_STACK", RLIMIT_STACK},
};

constexpr std::array kNamespaces{
    NamespaceKind{"cgroup", "cgroup", CLONE_NEWCGROUP}, NamespaceKind{"ipc", "ipc", CLONE_NEWIPC},
    NamespaceKind{"mount", "mnt", CLONE_NEWNS},         NamespaceKind{"network", "net", CLONE_NEWNET},
    NamespaceKind{"pid", "pid", CLONE_NEWPID},          NamespaceKind{"time", "time", CLONE_NEWTIME},
    NamespaceKind{"user", "user", CLONE_NEWUSER},       NamespaceKind{"uts", "uts", CLONE_NEWUTS},
};

std::optional<int> offset_from(std::string_view rest, char sign, int base) {
  if (rest.empty()) return base;
  if (rest.front() != sign) return std::nullopt;
  auto const offset = parse_u64(rest.substr(1));
  if (!offset || *offset > kLastRealTime - kFirstRealTime) return std::nullopt;
  return sign == '+' ? base + static_cast<int>(*offset) : base - static_cast<int>(*offset);
}

std::optional<int> signal_by_name(std::string_view name) {
  for (Entry const& entry : kSignals) {
    if (entry.name == name) return entry.number;
  }
  if (name.starts_with("RTMIN")) return offset_from(name.substr(5), '+', kFirstRealTime);
  if (name.starts_with("RTMAX")) return offset_from(name.substr(5), '-', kLastRealTime);
  return std::nullopt;
}

}  // namespace

Result<int> parse_signal(std::string_view text) {
  if (auto const number = parse_u64(text)) {
    if (*number <= kLastRealTime) return static_cast<int>(*number);
    return Error(Errc::kInvalidArgument, fmt::format("signal {} is not from 0 to {}", text, kLastRealTime));
  }
  std::string name(text);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (name.starts_with("SIG")) name.erase(0, 3);
  if (auto const number = signal_by_name(name)) return *number;
  std::vector<std::string_view> names;
  for (Entry const& entry : kSignals) names.push_back(entry.name);
  auto const near = nearest(name, names);
  return Error(Errc::kInvalidArgument,
               fmt::format("unknown signal \"{}\"{}", text,
                           near ? fmt::format(", did you mean \"{}\"?", *near) : std::string()));
}

std::string signal_name(int number) {
  for (Entry const& entry : kSignals) {
    if (entry.number == number) return fmt::format("SIG{}", entry.name);
  }
  if (number == kFirstRealTime) return "SIGRTMIN";
  if (number > kFirstRealTime && number <= kLastRealTime) return fmt::format("SIGRTMIN+{}", number - kFirstRealTime);
  return {};
}

std::optional<int> rlimit_number(std::string_view name) {
  for (Entry const& entry : kRlimits) {
    if (entry.name == name) return entry.number;
  }
  return std::nullopt;
}

std::vector<std::string_view> rlimit_names() {
  std::vector<std::string_view> names;
  for (Entry const& entry : kRlimits) names.push_back(entry.name);
  return names;
}

NamespaceKind const* namespace_kind(std::string_view name) {
  for (NamespaceKind const& kind : kNamespaces) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::vector<std::string_view> namespace_names() {
  std::vector<std::string_view> names;
  for (NamespaceKind const& kind : kNamespaces) names.push_back(kind.name);
  return names;
}

}  // namespace davit::runtime
