#include "image/reporter.h"

namespace davit::image {

constexpr std::chrono::milliseconds kInterval{100};

std::string_view phase_text(Phase phase) {
  switch (phase) {
    case Phase::kMessage:
      return "";
    case Phase::kWaiting:
      return "Waiting";
    case Phase::kDownloading:
      return "Downloading";
    case Phase::kExtracting:
      return "Extracting";
    case Phase::kPullComplete:
      return "Pull complete";
    case Phase::kAlreadyExists:
      return "Already exists";
    case Phase::kPreparing:
      return "Preparing";
    case Phase::kPushing:
      return "Pushing";
    case Phase::kPushed:
      return "Pushed";
    case Phase::kLayerExists:
      return "Layer already exists";
    case Phase::kMounted:
      return "Mounted";
    case Phase::kLoading:
      return "Loading layer";
    case Phase::kSaving:
      return "Saving layer";
  }
  return "";
}

void Reporter::message(std::string id, std::string text) {
  if (!progress_) return;
  std::lock_guard const lock(mutex_);
  progress_({.phase = Phase::kMessage, .id = std::move(id), .text = std::move(text)});
}

void Reporter::phase(Phase phase, std::string const& id, std::string text) {
  if (!progress_) return;
  std::lock_guard const lock(mutex_);
  progress_({.phase = phase, .id = id, .text = std::move(text)});
}

void Reporter::bytes(Phase phase, std::string const& id, std::uint64_t current, std::uint64_t total) {
  if (!progress_) return;
  std::lock_guard const lock(mutex_);
  auto const now = std::chrono::steady_clock::now();
  auto const [last, fresh] = last_.try_emplace(id, now);
  if (!fresh && now - last->second < kInterval) return;
  last->second = now;
  progress_({.phase = phase, .id = id, .current = current, .total = total, .text = {}});
}

}  // namespace davit::image
