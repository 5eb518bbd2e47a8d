#include "image/layer_works.h"

namespace davit::image {

Result<std::shared_ptr<MadeLayer>> LayerWorks::get(std::string const& key, std::stop_token stop, Make const& make) {
  {
    std::unique_lock lock(mutex_);
    for (;;) {
      Work& work = works_[key];
      if (std::shared_ptr<MadeLayer> made = work.made.lock()) return made;
      if (!work.running) {
        work.running = true;
        break;
      }
      auto const made_or_failed = [&] {
        auto const found = works_.find(key);
        return found == works_.end() || !found->second.running;
      };
      if (!changed_.wait(lock, stop, made_or_failed)) {
        return Error(Errc::kCancelled, "cancelled while another pull unpacks the same layer");
      }
    }
  }
  Result<MadeLayer> result = make();
  std::shared_ptr<MadeLayer> made;
  if (result) made = std::make_shared<MadeLayer>(std::move(*result));
  {
    std::lock_guard const lock(mutex_);
    // One that belongs to a single image is not shown to others; its entry goes, and the next one makes its own.
    if (made && made->implied_directories.empty()) {
      works_[key] = {.running = false, .made = made};
    } else {
      works_.erase(key);
    }
    std::erase_if(works_, [](auto const& each) { return !each.second.running && each.second.made.expired(); });
  }
  changed_.notify_all();
  if (!made) return std::move(result).take_error();
  return made;
}

std::size_t LayerWorks::size() {
  std::lock_guard const lock(mutex_);
  std::erase_if(works_, [](auto const& each) { return !each.second.running && each.second.made.expired(); });
  return works_.size();
}

}  // namespace davit::image
