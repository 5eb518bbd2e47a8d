#include "image/resolve.h"

#include <fmt/format.h>

#include "codec/hash.h"

namespace davit::image {
namespace {

// Docker and the specification allow an index in an index; nobody nests deeper.
constexpr int kMaxIndexDepth = 3;

Error no_platform(oci::ImageRef const& ref, oci::Index const& index, oci::Platform const& wanted) {
  std::string offered;
  for (oci::Descriptor const& entry : index.manifests) {
    if (!entry.platform || oci::is_attestation(entry)) continue;
    offered += (offered.empty() ? "" : ", ") + oci::to_string(*entry.platform);
  }
  if (offered.empty()) offered = "none";
  return Error(Errc::kNotFound,
               fmt::format("no matching manifest for {} in the manifest list entries of {}; there are: {}",
                           oci::to_string(wanted), ref.familiar(), offered));
}

Result<void> check_is_image(oci::Manifest const& manifest, oci::ImageRef const& ref) {
  std::string_view const type = manifest.config.media_type;
  if (type == oci::kOciConfig || type == oci::kDockerConfig) return {};
  std::string const what = manifest.artifact_type.empty() ? std::string(type) : manifest.artifact_type;
  return Error(
      Errc::kInvalidArgument,
      fmt::format("{} is an artifact of type '{}', not a container image: it cannot be unpacked and run; fetch it with "
                  "the tool that made it (helm, oras, cosign, ...)",
                  ref.familiar(), what));
}

Result<std::string> fetch_config(Context const& context, registry::Client& client,
                                 registry::Repository const& repository, oci::Descriptor const& descriptor,
                                 std::stop_token stop) {
  if (!descriptor.data.empty()) return descriptor.data;
  // An image that is here already: its digest says that it is the same.
  bool const here = TRY(context.store.has_blob(descriptor.digest));
  if (here) {
    Result<std::string> bytes = context.store.read_blob(descriptor.digest, context.limits.max_config_bytes);
    if (bytes && codec::sha256_hex(*bytes) == descriptor.digest.hex()) return bytes;
  }
  if (descriptor.size > context.limits.max_config_bytes) {
    return Error(Errc::kInvalidArgument, fmt::format("the image's config is {} bytes; more than {} are refused",
                                                     descriptor.size, context.limits.max_config_bytes));
  }
  std::unique_ptr<codec::Source> const source = TRY(client.blob(repository, descriptor, 0, stop));
  std::string bytes = TRY(codec::read_all(*source, context.limits.max_config_bytes));
  if (codec::sha256_hex(bytes) != descriptor.digest.hex()) {
    return Error(Errc::kInvalidArgument, fmt::format("the image's config is not {}: the registry sent something else",
                                                     descriptor.digest.text()));
  }
  return bytes;
}

}  // namespace

Result<ResolvedImage> resolve(Context const& context, registry::Client& client, oci::ImageRef const& ref,
                              oci::Platform const& wanted, std::stop_token stop) {
  registry::Repository const repository(ref);
  std::string reference = ref.digest() ? ref.digest()->text() : ref.tag();
  std::optional<Document> top;
  for (int depth = 0; depth <= kMaxIndexDepth; ++depth) {
    registry::FetchedManifest fetched = TRY(client.manifest(repository, reference, stop));
    oci::ParsedManifest parsed = TRY(oci::parse_manifest(fetched.bytes, fetched.media_type));
    Document document{
        .digest = fetched.digest, .bytes = std::move(fetched.bytes), .media_type = std::move(fetched.media_type)};
    if (auto* manifest = std::get_if<oci::Manifest>(&parsed.content)) {
      TRY(check_is_image(*manifest, ref));
      std::string config_bytes =
          TRY_CTX(fetch_config(context, client, repository, manifest->config, stop), "fetch the image's config");
      oci::ImageConfig config = TRY_CTX(oci::parse_image_config(config_bytes), "read the image's config");
      if (config.diff_ids.size() != manifest->layers.size()) {
        return Error(Errc::kInvalidArgument, fmt::format("{} has {} layers and its config names {}", ref.familiar(),
                                                         manifest->layers.size(), config.diff_ids.size()));
      }
      return ResolvedImage{.index = std::move(top),
                           .manifest_document = std::move(document),
                           .manifest = std::move(*manifest),
                           .config_bytes = std::move(config_bytes),
                           .config = std::move(config)};
    }
    auto const& index = std::get<oci::Index>(parsed.content);
    oci::Descriptor const* const chosen = oci::select_platform(index, wanted);
    if (chosen == nullptr) return no_platform(ref, index, wanted);
    reference = chosen->digest.text();
    if (!top) top = std::move(document);
  }
  return Error(Errc::kInvalidArgument,
               fmt::format("{}: manifest lists are nested more than {} deep", ref.familiar(), kMaxIndexDepth));
}

}  // namespace davit::image
