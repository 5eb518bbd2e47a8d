// Names of images, ids, digests, tags and platforms as users type them (oci/image_ref.h, digest.h, platform.h).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "oci/image_ref.h"
#include "oci/platform.h"

namespace {

using namespace davit;

void require(bool condition) {
  if (!condition) std::abort();
}

// What was parsed is safe as a path and reads back the same from both of its forms.
void check_reference(oci::ImageRef const& ref) {
  for (std::string const& text : {ref.to_string(), ref.familiar()}) {
    auto const again = oci::ImageRef::parse(text);
    require(again.ok() && *again == ref);
  }
  require(!ref.domain().empty() && !ref.path().empty() && ref.path().size() <= 255);
  require(ref.path().find("..") == std::string::npos && ref.domain().find('/') == std::string::npos);
  require(ref.tag().empty() || oci::is_valid_tag(ref.tag()));
  require(ref.with_default_tag().without_digest().name() == ref.name());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  if (auto const ref = oci::ImageRef::parse(text); ref.ok()) check_reference(*ref);
  if (auto const query = oci::parse_image_query(text); query.ok()) {
    require(query->reference.has_value() || !query->id_prefix.empty());
    require(query->id_prefix.find_first_not_of("0123456789abcdef") == std::string::npos);
  }
  if (auto const digest = oci::Digest::parse(text); digest.ok()) require(digest->text() == text);
  oci::Platform const host{.os = "linux", .architecture = "amd64"};
  if (auto const platform = oci::parse_platform(text, host); platform.ok()) {
    require(oci::normalise(*platform) == *platform);
    require(oci::match_score(*platform, *platform) > 0);
    (void)oci::match_score(host, *platform);
  }
  return 0;
}
