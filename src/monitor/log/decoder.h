// Decoder: the bytes of one log format to entries. Skips what it does not understand: a crash may cut a file anywhere.
// One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "monitor/log/entry.h"
#include "monitor/log/log_options.h"

namespace davit::monitor::log {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Takes as many whole records as there are in `bytes` (which start at a record) and appends their entries. Returns
  // the number of bytes used; 0 when more are needed.
  virtual std::size_t decode(std::string_view bytes, std::vector<Entry>& out) = 0;
  // A record may not be larger than this; longer ones are skipped.
  static constexpr std::size_t kMaxRecord = (1 << 20) + 64;
  // Records that could not be understood.
  std::uint64_t skipped() const { return skipped_; }

 protected:
  std::uint64_t skipped_ = 0;
};

// Null for Driver::kNone.
std::unique_ptr<Decoder> make_decoder(Driver driver);

// One line of each format, without its newline. False where it is malformed.
bool parse_json_line(std::string_view line, Entry& out);
bool parse_cri_line(std::string_view line, Entry& out);

}  // namespace davit::monitor::log
