// TCP connections by name. Internal to wire. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "wire/wait.h"

namespace davit::wire {

// Tries the host's addresses in the resolver's order; the next one starts when one fails or after 300 ms without an
// answer, and the first to connect wins (a small part of RFC 8305). kUnavailable with every address and its error.
// The resolver itself is not interrupted by a stop or the deadline.
Result<UniqueFd> dial(std::string const& host, std::uint16_t port, Waiter& waiter, Deadline deadline);

}  // namespace davit::wire
