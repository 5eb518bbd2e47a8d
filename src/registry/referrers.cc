#include "registry/referrers.h"

#include <fmt/format.h>

#include <algorithm>

namespace davit::registry {

namespace {

constexpr std::size_t kMaxReferrers = 10000;

Result<oci::Index> parse_index(std::string_view bytes) {
  auto parsed = TRY(oci::parse_manifest(bytes, oci::kOciIndex));
  auto* index = std::get_if<oci::Index>(&parsed.content);
  if (index == nullptr) return Error(Errc::kInvalidArgument, "the list of referrers is no image index");
  return std::move(*index);
}

}  // namespace

std::string referrers_tag(oci::Digest const& subject) {
  return fmt::format("{}-{}", subject.algorithm(), subject.hex().substr(0, 64));
}

Result<void> add_referrers(std::string_view index, std::vector<oci::Descriptor>& out) {
  oci::Index parsed = TRY(parse_index(index));
  if (out.size() + parsed.manifests.size() > kMaxReferrers) {
    return Error(Errc::kResourceExhausted, fmt::format("more than {} referrers", kMaxReferrers));
  }
  std::ranges::move(parsed.manifests, std::back_inserter(out));
  return {};
}

Result<std::optional<Referrer>> referrer_of(std::string_view manifest, std::string_view media_type,
                                            oci::Digest const& digest) {
  auto const parsed = TRY(oci::parse_manifest(manifest, media_type));
  return std::visit(
      [&](auto const& document) -> Result<std::optional<Referrer>> {
        if (!document.subject) return std::optional<Referrer>();
        oci::Descriptor descriptor{std::string(media_type), digest, manifest.size(), {}, {}, {}, {}, {}};
        descriptor.annotations = document.annotations;
        descriptor.artifact_type = document.artifact_type;
        if constexpr (requires { document.config; }) {
          if (descriptor.artifact_type.empty()) descriptor.artifact_type = document.config.media_type;
        }
        return std::optional(Referrer{document.subject->digest, std::move(descriptor)});
      },
      parsed.content);
}

Result<std::optional<std::string>> with_referrer(std::string_view old, oci::Descriptor const& entry) {
  oci::Index index;
  index.media_type = oci::kOciIndex;
  if (!old.empty()) index = TRY(parse_index(old));
  auto const same = [&](oci::Descriptor const& other) { return other.digest == entry.digest; };
  if (std::ranges::any_of(index.manifests, same)) return std::optional<std::string>();
  if (index.manifests.size() >= kMaxReferrers) {
    return Error(Errc::kResourceExhausted, fmt::format("more than {} referrers", kMaxReferrers));
  }
  index.manifests.push_back(entry);
  return std::optional(oci::to_json(index));
}

}  // namespace davit::registry
