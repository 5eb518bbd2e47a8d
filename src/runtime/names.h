// The kernel's numbers behind the names that the OCI specification and command lines use. Any thread; nothing blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::runtime {

// "TERM", "SIGTERM", "sigterm", "15", "RTMIN", "SIGRTMIN+3", "RTMAX-1"; 0 to 64. kInvalidArgument with the nearest
// name. RTMIN is 34, as C programs see it: the C library keeps 32 and 33.
Result<int> parse_signal(std::string_view text);
// "SIGTERM", "SIGRTMIN+3"; empty for a number that is no signal.
std::string signal_name(int number);

// "RLIMIT_NOFILE" -> RLIMIT_NOFILE; nullopt when unknown.
std::optional<int> rlimit_number(std::string_view name);
std::vector<std::string_view> rlimit_names();

// One of the kernel's namespaces: namespaces(7).
struct NamespaceKind {
  std::string_view name;     // the specification's: "network"
  char const* file;          // below /proc/PID/ns: "net"
  std::uint64_t clone_flag;  // CLONE_NEW* (CLONE_NEWTIME is for unshare and clone3 only)
};
// Null when unknown. Sorted by name; static storage.
NamespaceKind const* namespace_kind(std::string_view name);
std::vector<std::string_view> namespace_names();

}  // namespace davit::runtime
