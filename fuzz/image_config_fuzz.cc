// Image configs from a registry or an archive (oci/image_spec.h).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "oci/image_spec.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace davit;
  auto const config = oci::parse_image_config({reinterpret_cast<char const*>(data), size});
  if (!config.ok()) return 0;
  std::string const printed = oci::to_json(*config);
  auto const again = oci::parse_image_config(printed);
  require(again.ok() && again->diff_ids == config->diff_ids && again->history.size() == config->history.size());
  require(oci::to_json(*again) == printed);
  require(oci::chain_ids(config->diff_ids).size() == config->diff_ids.size());
  return 0;
}
