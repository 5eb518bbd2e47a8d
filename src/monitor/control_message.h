// The control protocol's messages as bytes (docs/wire/monitor-control.md): one packet of a SOCK_SEQPACKET socket is
//   byte 0     version, 1
//   byte 1     type: a request's; a reply's is its request's + 0x80; kEvent
//   bytes 2-3  zero
//   bytes 4-7  request id, chosen by the client, little endian
//   then fields, each:
//   byte 0     tag
//   byte 1     zero
//   bytes 2-3  length of the value, little endian
//   value
// Descriptors travel beside the bytes (SCM_RIGHTS). Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::monitor {

inline constexpr std::uint8_t kControlVersion = 1;
inline constexpr std::size_t kMaxControlMessage = 64 * 1024;
inline constexpr std::size_t kControlHeaderSize = 8;
inline constexpr std::uint8_t kReplyBit = 0x80;

enum class Request : std::uint8_t {
  kState = 1,
  kStart = 2,
  kSignal = 3,
  kPause = 4,
  kResume = 5,
  kResize = 6,
  kStats = 7,
  kWait = 8,
  kAttach = 9,
  kExec = 10,
  kExecWait = 11,
  kExecList = 12,
  kExecInspect = 13,
  kCollect = 14,
  kSubscribe = 15,
  kReopenLog = 16,
  kCloseStdin = 17,
};
inline constexpr std::uint8_t kEvent = 0xff;

enum class Tag : std::uint8_t {
  kStatus = 1,       // u8: 0, or an error code + 1
  kMessage = 2,      // text of the error
  kJson = 3,         // the answer
  kExecId = 4,       // text
  kSignal = 5,       // u32
  kWidth = 6,        // u32, columns
  kHeight = 7,       // u32, rows
  kStreams = 8,      // u32: 1 stdin, 2 stdout, 4 stderr
  kFlags = 9,        // u32, kFlag...
  kDetachKeys = 10,  // bytes
  kLeftover = 11,    // bytes
  kPath = 12,        // text: a file with the process as JSON
  kOffset = 13,      // u32
};

inline constexpr std::uint32_t kFlagRaw = 1;            // attach, exec: no frames
inline constexpr std::uint32_t kFlagTerminal = 2;       // exec
inline constexpr std::uint32_t kFlagAll = 4;            // signal: every process of the cgroup
inline constexpr std::uint32_t kFlagProcessFd = 8;      // exec: the first descriptor holds the process as JSON
inline constexpr std::uint32_t kFlagClient = 16;        // exec: the (next) descriptor is the client's
inline constexpr std::uint32_t kFlagIgnorePaused = 32;  // exec

struct ControlMessage {
  std::uint8_t type = 0;
  std::uint32_t id = 0;
  struct Field {
    Tag tag;
    std::string_view value;  // points into the packet
  };
  std::vector<Field> fields;

  // kInvalidArgument for anything that is not exactly one message. id and type are set even then where they were there.
  static Result<ControlMessage> parse(std::string_view packet);

  bool has(Tag tag) const { return text(tag).has_value(); }
  std::optional<std::string_view> text(Tag tag) const;
  // kInvalidArgument when the value is not four bytes; fallback when there is none.
  Result<std::uint32_t> number(Tag tag, std::uint32_t fallback) const;
};

class ControlWriter {
 public:
  ControlWriter(std::uint8_t type, std::uint32_t id);
  // A value that does not fit the message any more is left out, and false returned.
  bool add(Tag tag, std::string_view value);
  bool add_number(Tag tag, std::uint32_t value);
  std::string const& packet() const { return packet_; }

 private:
  std::string packet_;
};

// The reply that says why.
std::string error_reply(std::uint8_t type, std::uint32_t id, Error const& error);

}  // namespace davit::monitor
