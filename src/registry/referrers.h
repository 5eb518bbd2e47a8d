// The referrers of a manifest (distribution-spec 1.1, "Listing Referrers" and its fallback tag). Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/image_spec.h"

namespace davit::registry {

// "sha256-ab12...": where a registry without the API keeps the list.
std::string referrers_tag(oci::Digest const& subject);

// Adds the entries of an image index. kResourceExhausted past 10,000 altogether.
Result<void> add_referrers(std::string_view index, std::vector<oci::Descriptor>& out);

// What a pushed manifest or index says of itself; nullopt when it has no subject.
struct Referrer {
  oci::Digest subject;
  oci::Descriptor descriptor;
};
Result<std::optional<Referrer>> referrer_of(std::string_view manifest, std::string_view media_type,
                                            oci::Digest const& digest);

// The index of the fallback tag with the entry added; old: "" when there was none. nullopt: it was there already.
Result<std::optional<std::string>> with_referrer(std::string_view old, oci::Descriptor const& entry);

}  // namespace davit::registry
