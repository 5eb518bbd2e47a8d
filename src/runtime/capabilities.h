// Capabilities by name and number: capabilities(7), include/uapi/linux/capability.h. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::runtime {

// Bit N is capability N.
using CapabilityMask = std::uint64_t;

// "CAP_CHOWN" -> 0; nullopt when unknown. Names are the specification's: upper case with the prefix.
std::optional<unsigned> capability_number(std::string_view name);
// Empty for a number that this build does not know.
std::string_view capability_name(unsigned number);
// All that this build knows, by number.
std::vector<std::string_view> capability_names();

// The set of the names. kInvalidArgument naming the element ("process.capabilities.bounding[2]: ...") and the nearest
// name.
Result<CapabilityMask> parse_capabilities(std::vector<std::string> const& names, std::string_view field);

// Those that the running kernel has, from /proc/sys/kernel/cap_last_cap (a parameter so that a test can own it). A set
// is cut to these before it is given to the kernel, which refuses others; runc does the same.
Result<CapabilityMask> kernel_capabilities(std::string const& path = "/proc/sys/kernel/cap_last_cap");

// What Docker gives a container (bounding, permitted, effective; nothing inheritable or ambient).
std::vector<std::string> default_capabilities();

}  // namespace davit::runtime
