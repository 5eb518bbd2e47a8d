// A connected byte stream that never blocks: TCP, or TLS over another transport. Internal to wire. One thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::wire {

// What one step did. size 0 and no need: the peer has ended the stream (reading only).
struct Progress {
  enum class Need { kNothing, kReadable, kWritable };  // what the socket must become before the next try
  std::size_t size = 0;
  Need need = Need::kNothing;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int fd() const = 0;  // to poll, after a step said what it needs
  virtual Result<Progress> read(std::span<char> out) = 0;
  // Of two pieces in a row, a header and what follows it: bytes taken of both together. Repeated with the rest.
  virtual Result<Progress> write(std::string_view first, std::string_view second) = 0;
  // Whether reading would give a byte or the end now; nothing is taken.
  virtual Result<bool> has_input() = 0;
};

std::unique_ptr<Transport> tcp_transport(UniqueFd socket);

}  // namespace davit::wire
