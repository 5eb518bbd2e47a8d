#include <algorithm>

#include "image/local.h"
#include "snapshot/overlay_marks.h"

namespace davit::image {

Result<std::vector<std::string>> mount_layers(store::Store& store, store::ImageRecord const& image) {
  std::vector<std::string> paths;
  for (auto id = image.layers.rbegin(); id != image.layers.rend(); ++id) {
    std::string path = store.layer_path(*id);
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) continue;
    UniqueFd const fs = TRY(store.open_layer(*id));
    paths.push_back(std::move(path));
    if (snapshot::is_opaque(fs.get(), "")) break;
  }
  return paths;
}

}  // namespace davit::image
