// A client whose registries are servers of the test. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/hash.h"
#include "registry/client.h"
#include "sys/testing/temp_dir.h"
#include "wire/testing/http_server.h"

namespace davit::registry::testing {

using wire::testing::Answer;
using wire::testing::HttpServer;
using wire::testing::RecordedRequest;

inline constexpr std::string_view kManifestText =
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":)"
    R"("application/vnd.oci.empty.v1+json","digest":)"
    R"("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]})";

inline oci::Digest digest_of_text(std::string_view text) { return oci::Digest::sha256(codec::sha256_hex(text)); }

inline oci::Descriptor descriptor_of(std::string_view text) {
  return {std::string(oci::kOciLayer), digest_of_text(text), text.size(), {}, {}, {}, {}, {}};
}

// A credential for each of several domains.
class MapCredentials : public CredentialSource {
 public:
  std::map<std::string, Credential, std::less<>> all;
  Result<std::optional<Credential>> find(std::string_view domain) override {
    auto const found = all.find(domain);
    return found == all.end() ? std::optional<Credential>() : std::optional(found->second);
  }
};

class ClientTest : public ::testing::Test {
 protected:
  // The answer of a test's server to one request; given before the server is used.
  using Handler = HttpServer::Handler;

  HttpServer& serve(Handler handler) {
    servers_.push_back(std::make_unique<HttpServer>(std::move(handler)));
    HttpServer& server = *servers_.back();
    configure(server.origin(), "server = \"" + server.url("") + "\"\n");
    return server;
  }

  // hosts.toml of a domain.
  void configure(std::string const& domain, std::string_view toml) { write(domain, "hosts.toml", toml); }
  void write(std::string const& domain, std::string const& name, std::string_view text) {
    ASSERT_TRUE(sys::mkdir_all(dir_ / domain, 0755).ok());
    auto const file = sys::open(dir_ / (domain + "/" + name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(sys::write_all(file->get(), text).ok());
  }

  ClientOptions options() const {
    ClientOptions result;
    result.hosts.certs_dirs = {dir_.path()};
    result.backoff = std::chrono::milliseconds(1);
    result.attempts = 3;
    return result;
  }
  Client& client() {
    if (client_ == nullptr) client_ = std::make_unique<Client>(options(), credentials_);
    return *client_;
  }
  static Repository repository(std::string const& domain, std::string const& path = "a/b") {
    return Repository(oci::ImageRef::parse(domain + "/" + path).value());
  }

  sys::testing::TempDir dir_;
  MapCredentials credentials_;
  std::vector<std::unique_ptr<HttpServer>> servers_;
  std::unique_ptr<Client> client_;
};

inline int count(HttpServer const& server, std::function<bool(RecordedRequest const&)> const& wanted) {
  int result = 0;
  for (RecordedRequest const& request : server.requests()) result += wanted(request) ? 1 : 0;
  return result;
}

// "Range: bytes=5-9" of a request; nullopt: none.
struct AskedRange {
  std::size_t first = 0, last = 0;
};
inline std::optional<AskedRange> asked_range(RecordedRequest const& request, std::size_t total) {
  std::string const text = request.header("Range");
  if (!text.starts_with("bytes=")) return std::nullopt;
  std::size_t const dash = text.find('-');
  std::string const last = text.substr(dash + 1);
  return AskedRange{std::stoull(text.substr(6, dash - 6)), last.empty() ? total - 1 : std::stoull(last)};
}

// A blob as a server that takes Range gives it.
inline Answer answer_range(RecordedRequest const& request, std::string_view blob) {
  auto const range = asked_range(request, blob.size());
  if (!range) return Answer::of(200, blob);
  std::string const content =
      "bytes " + std::to_string(range->first) + "-" + std::to_string(range->last) + "/" + std::to_string(blob.size());
  return Answer::of(206, blob.substr(range->first, range->last - range->first + 1), {{"Content-Range", content}});
}

inline std::string some_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 1;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

}  // namespace davit::registry::testing
