// Image manifests and indexes from a registry or an archive (oci/image_spec.h).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "oci/image_spec.h"

namespace {

using namespace davit;

void require(bool condition) {
  if (!condition) std::abort();
}

// What was printed reads back, by its own type, and prints the same.
template <typename T>
void check_printed(T const& content) {
  std::string const printed = oci::to_json(content);
  auto const again = oci::parse_manifest(printed, content.media_type, {.max_bytes = printed.size()});
  require(again.ok() && std::holds_alternative<T>(again->content));
  require(oci::to_json(std::get<T>(again->content)) == printed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  auto const parsed = oci::parse_manifest(text, "");
  // No document is both, whatever it was delivered as.
  bool const as_manifest = oci::parse_manifest(text, oci::kOciManifest).ok();
  bool const as_index = oci::parse_manifest(text, oci::kOciIndex).ok();
  require(!as_manifest || !as_index);
  if (!parsed.ok()) return 0;
  if (auto const* manifest = std::get_if<oci::Manifest>(&parsed->content)) {
    require(!as_index);
    check_printed(*manifest);
    (void)oci::is_artifact(*manifest);
    for (oci::Descriptor const& layer : manifest->layers) (void)oci::layer_compression(layer.media_type).ok();
    return 0;
  }
  auto const& index = std::get<oci::Index>(parsed->content);
  require(!as_manifest || index.manifests.empty());
  check_printed(index);
  oci::Descriptor const* chosen = oci::select_platform(index, {.os = "linux", .architecture = "arm64"});
  require(chosen == nullptr || !oci::is_attestation(*chosen));
  return 0;
}
