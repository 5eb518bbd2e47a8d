// LayerWorks: which layers are being made now, so that two pulls (or an image that has a layer twice) make one once.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace davit::image {

// A layer that was unpacked and is not published yet.
struct MadeLayer {
  std::shared_ptr<store::StagedLayer> layer;
  // Directories whose metadata come from the layers below (snapshot/apply.h): such a layer belongs to one image.
  std::vector<std::string> implied_directories;
  // The blob it came as, when that is kept.
  std::optional<std::pair<oci::Digest, std::shared_ptr<store::Ingest>>> blob;
  std::optional<store::LayerForm> form;
};

class LayerWorks {
 public:
  using Make = std::function<Result<MadeLayer>()>;
  // The layer of that key: what another thread has made and still holds, or is making now (this waits), or what make()
  // gives, which runs on this thread without a lock. When another thread's make() fails, this one tries its own. Any
  // thread. kCancelled by stop.
  Result<std::shared_ptr<MadeLayer>> get(std::string const& key, std::stop_token stop, Make const& make);
  // How many are being made or are held by those who asked for them; for tests.
  std::size_t size();

 private:
  struct Work {
    bool running = false;
    std::weak_ptr<MadeLayer> made;
  };
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, Work> works_;
};

}  // namespace davit::image
