// Progress of a pull, push, load or save as structured events, which a front turns into its protocol's messages.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace davit::image {

enum class Phase : std::uint8_t {
  kMessage,        // text only: "latest: Pulling from library/nginx"
  kWaiting,        // known, not begun
  kDownloading,    // current of total bytes
  kExtracting,     // all bytes are here, the last are being written
  kPullComplete,   // the layer is there
  kAlreadyExists,  // the layer was there
  kPreparing,
  kPushing,  // current of total bytes
  kPushed,
  kLayerExists,  // the registry had it
  kMounted,      // the registry took it from another repository; text names that
  kLoading,      // current of total bytes of a layer in an archive
  kSaving,
};

// The word of each phase as a person reads it: "Downloading".
std::string_view phase_text(Phase phase);

struct Event {
  Phase phase = Phase::kMessage;
  std::string id;                        // what it is about: the layer's first 12 hex digits, a tag, ""
  std::uint64_t current = 0, total = 0;  // bytes; total 0 when unknown
  std::string text;
};

// Called by the threads of the operation, one call at a time; must not block for long. Events with current and total
// come at most ten times a second for each id.
using Progress = std::function<void(Event const&)>;

}  // namespace davit::image
