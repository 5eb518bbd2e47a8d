// Packets of the monitor's control socket (monitor/control_message.h) and attached users' input
// (monitor/detach_keys.h).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "monitor/control_message.h"
#include "monitor/detach_keys.h"

namespace {

using namespace davit;
using namespace davit::monitor;

void require(bool condition) {
  if (!condition) std::abort();
}

// What parses is what writing its fields again gives.
void check_message(std::string_view packet) {
  auto const message = ControlMessage::parse(packet);
  if (!message.ok()) return;
  ControlWriter writer(message->type, message->id);
  for (auto const& field : message->fields) {
    require(writer.add(field.tag, field.value));
    (void)message->number(field.tag, 0).ok();
  }
  require(writer.packet() == packet);
}

// However the input is cut, the same bytes go on and the same decision is taken.
void check_detach_keys(std::string_view text) {
  if (text.size() < 2) return;
  std::size_t const key_size = static_cast<unsigned char>(text[0]) % (DetachKeys::kMaxSize + 1);
  std::size_t const step = static_cast<unsigned char>(text[1]) % 7 + 1;
  std::string const sequence(text.substr(2, key_size));
  std::string_view const input = text.substr(std::min(text.size(), 2 + key_size));
  DetachKeys whole(sequence), cut(sequence);
  std::string whole_out, cut_out;
  bool const whole_found = whole.feed(input, whole_out);
  bool cut_found = false;
  for (std::size_t at = 0; at < input.size() && !cut_found; at += step) {
    cut_found = cut.feed(input.substr(at, step), cut_out);
  }
  require(whole_found == cut_found && whole_out == cut_out);
  require(whole_out.size() <= input.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  check_message(text);
  check_detach_keys(text);
  return 0;
}
