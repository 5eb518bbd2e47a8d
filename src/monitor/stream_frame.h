// The frame in which Docker multiplexes a container's streams to an attached client without a terminal (Engine API,
// "Attach to a container"):
//   byte 0     stream: 0 stdin, 1 stdout, 2 stderr
//   bytes 1-3  zero
//   bytes 4-7  payload length, big endian
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "monitor/log/entry.h"

namespace davit::monitor {

inline constexpr std::size_t kFrameHeaderSize = 8;

constexpr std::array<char, kFrameHeaderSize> frame_header(log::Stream stream, std::uint32_t size) {
  auto const byte = [](std::uint32_t value) { return static_cast<char>(static_cast<unsigned char>(value)); };
  return {byte(static_cast<std::uint32_t>(stream)),
          0,
          0,
          0,
          byte(size >> 24),
          byte(size >> 16),
          byte(size >> 8),
          byte(size)};
}

}  // namespace davit::monitor
