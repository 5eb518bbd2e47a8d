#include "monitor/detach_keys.h"

namespace davit::monitor {

bool DetachKeys::feed(std::string_view input, std::string& out) {
  if (sequence_.empty()) {
    out.append(input);
    return false;
  }
  for (char const c : input) {
    held_ += c;
    // The sequence may begin again within what was held: give up only as many bytes as cannot belong to it.
    while (!held_.empty() && !sequence_.starts_with(held_)) {
      out += held_.front();
      held_.erase(0, 1);
    }
    if (held_.size() == sequence_.size()) {
      held_.clear();
      return true;
    }
  }
  return false;
}

}  // namespace davit::monitor
