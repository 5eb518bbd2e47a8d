#include <cstdlib>

#include "codec/json_writer.h"
#include "front/image/commands.h"
#include "image/pull.h"
#include "image/push.h"

namespace davit::front {
namespace {

struct RegistryFlags {
  std::vector<std::string> insecure, mirrors, certs_dirs;
  std::string docker_config, auth;

  std::vector<Flag> flags() {
    return {list_flag("insecure", 0, "HOST", insecure, "a registry to be used without TLS or without checking it"),
            list_flag("mirror", 0, "URL", mirrors, "tried before docker.io"),
            list_flag("certs-dir", 0, "DIR", certs_dirs, "instead of /etc/docker/certs.d"),
            text_flag("docker-config", 0, "DIR", docker_config,
                      "the folder of a config.json with credentials (default: none)"),
            text_flag("auth", 0, "BASE64", auth, "X-Registry-Auth, as the API takes it")};
  }
};

// The client with the objects that it borrows.
struct RegistryAccess {
  std::unique_ptr<registry::CredentialSource> credentials;
  std::unique_ptr<registry::Client> client;
};

Result<RegistryAccess> connect(RegistryFlags const& flags, oci::ImageRef const& ref) {
  RegistryAccess access;
  if (!flags.docker_config.empty()) {
    access.credentials = std::make_unique<registry::ConfigFileCredentials>(flags.docker_config);
  } else {
    std::optional<registry::Credential> credential = TRY(registry::parse_auth_header(flags.auth));
    access.credentials = std::make_unique<registry::FixedCredential>(ref.domain(), std::move(credential));
  }
  registry::ClientOptions options;
  options.hosts.mirrors = flags.mirrors;
  options.hosts.insecure_registries = flags.insecure;
  if (!flags.certs_dirs.empty()) options.hosts.certs_dirs = flags.certs_dirs;
  options.http.proxy = wire::ProxyOptions::from_environment();
  access.client = std::make_unique<registry::Client>(std::move(options), *access.credentials);
  return access;
}

}  // namespace

ImageResult image_pull(ImageTool& tool, ImageArguments arguments) {
  RegistryFlags registry_flags;
  std::string platform;
  std::vector<Flag> flags = registry_flags.flags();
  flags.push_back(text_flag("platform", 0, "OS/ARCH", platform, "the platform to fetch (default: this machine's)"));
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 1, "pull NAME[:TAG|@DIGEST] [flags]"));
  oci::ImageRef const ref = TRY(oci::ImageRef::parse(words[0]));
  RegistryAccess const access = TRY(connect(registry_flags, ref));
  image::PullOptions options{.platform = std::nullopt, .progress = tool.progress(), .stop = tool.stop.get_token()};
  if (!platform.empty()) options.platform = TRY(oci::parse_platform(platform, oci::host_platform()));
  image::Context const context = tool.context();
  image::Pulled const pulled = TRY(image::pull(context, *access.client, ref, options));
  TRY(print_text(json::Object()
                     .add("id", pulled.id.text())
                     .add("digest", pulled.digest.text())
                     .add("upToDate", pulled.up_to_date)
                     .text() +
                 "\n"));
  return 0;
}

ImageResult image_push(ImageTool& tool, ImageArguments arguments) {
  RegistryFlags registry_flags;
  unsigned level = 1;
  std::vector<Flag> flags = registry_flags.flags();
  flags.push_back(unsigned_flag("level", 0, level, "of gzip, 0 to 3 (default 1)"));
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 1, "push NAME[:TAG] [flags]"));
  oci::ImageRef const ref = TRY(oci::ImageRef::parse(words[0]));
  RegistryAccess const access = TRY(connect(registry_flags, ref));
  image::PushOptions const options{
      .progress = tool.progress(), .stop = tool.stop.get_token(), .gzip_level = static_cast<int>(level)};
  image::Context const context = tool.context();
  image::Pushed const pushed = TRY(image::push(context, *access.client, ref, options));
  TRY(print_text(json::Object().add("digest", pushed.digest.text()).add("size", pushed.size).text() + "\n"));
  return 0;
}

}  // namespace davit::front
