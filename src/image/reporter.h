// Reporter: lets many threads report to one Progress, and not too often.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include "image/events.h"

namespace davit::image {

class Reporter {
 public:
  explicit Reporter(Progress progress) : progress_(std::move(progress)) {}
  void message(std::string id, std::string text);
  void phase(Phase phase, std::string const& id, std::string text = {});
  // Dropped when the last one for this id is less than 100 ms ago.
  void bytes(Phase phase, std::string const& id, std::uint64_t current, std::uint64_t total);

 private:
  Progress progress_;
  std::mutex mutex_;  // held over the callback: it serialises the events, and the callback is the caller's only
  std::map<std::string, std::chrono::steady_clock::time_point> last_;
};

}  // namespace davit::image
