#include <thread>

#include "registry/testing/client_fixture.h"

namespace davit::registry {
namespace {

using namespace std::chrono_literals;
using testing::answer_range;
using testing::asked_range;
using testing::ClientTest;
using testing::count;
using testing::kManifestText;
using wire::testing::Answer;
using wire::testing::Channel;
using wire::testing::HttpServer;
using wire::testing::RecordedRequest;

class Pull : public ClientTest {};

std::string digest_text() { return testing::digest_of_text(kManifestText).text(); }

Answer manifest_answer() {
  return Answer::of(200, kManifestText,
                    {{"Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8"},
                     {"Docker-Content-Digest", digest_text()}});
}

Answer json_error(int status, std::string_view code) {
  return Answer::of(status, R"({"errors":[{"code":")" + std::string(code) + R"(","message":"said so"}]})",
                    {{"Content-Type", "application/json"}});
}

TEST_F(Pull, ManifestByTagAndDigest) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    return request.target.starts_with("/v2/a/b/manifests/") ? manifest_answer() : Answer::of(404, "");
  });
  for (std::string const& reference : {std::string("latest"), digest_text()}) {
    auto const found = client().manifest(repository(server.origin()), reference);
    ASSERT_TRUE(found.ok()) << found.error().to_string();
    EXPECT_EQ(found->bytes, kManifestText);
    EXPECT_EQ(found->media_type, oci::kOciManifest);
    EXPECT_EQ(found->digest.text(), digest_text());
  }
  EXPECT_EQ(server.requests().at(0).target, "/v2/a/b/manifests/latest");
  EXPECT_NE(server.requests().at(0).header("Accept").find(oci::kDockerList), std::string::npos);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Pull, OtherContentThanAskedForIsRefused) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    return request.target.ends_with("/lying") ? Answer::of(200, "other", {{"Docker-Content-Digest", digest_text()}})
                                              : Answer::of(200, "other");
  });
  EXPECT_EQ(client().manifest(repository(server.origin()), digest_text()).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(client().manifest(repository(server.origin()), "lying").error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(client().manifest(repository(server.origin()), "../x").error().code(), Errc::kInvalidArgument);
}

TEST_F(Pull, HeadTellsOrTheDocumentDoes) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    if (request.method == "GET") return manifest_answer();
    if (request.target.ends_with("/silent")) return Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n");
    return Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 300\r\nDocker-Content-Digest: " + digest_text() +
                       "\r\n\r\n");
  });
  auto const head = client().head_manifest(repository(server.origin()), "told");
  ASSERT_TRUE(head.ok()) << head.error().to_string();
  EXPECT_EQ(head->size, 300U);
  auto const silent = client().head_manifest(repository(server.origin()), "silent");
  ASSERT_TRUE(silent.ok()) << silent.error().to_string();
  EXPECT_EQ(silent->size, kManifestText.size());
  EXPECT_EQ(silent->digest.text(), digest_text());
}

struct StatusCase {
  std::string_view name;
  int status;
  std::string_view code;
  Errc errc;
  int requests;
};
class Refusals : public ClientTest, public ::testing::WithParamInterface<StatusCase> {};
TEST_P(Refusals, HaveTheirCode) {
  HttpServer& server = serve([](RecordedRequest const&) { return json_error(GetParam().status, GetParam().code); });
  auto const found = client().manifest(repository(server.origin()), "latest");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), GetParam().errc) << found.error().to_string();
  EXPECT_EQ(server.requests().size(), static_cast<std::size_t>(GetParam().requests));
}
INSTANTIATE_TEST_SUITE_P(Table, Refusals,
                         ::testing::Values(StatusCase{"manifest", 404, "MANIFEST_UNKNOWN", Errc::kNotFound, 1},
                                           StatusCase{"name", 404, "NAME_UNKNOWN", Errc::kNotFound, 1},
                                           StatusCase{"unauthorized", 401, "UNAUTHORIZED", Errc::kPermissionDenied, 1},
                                           StatusCase{"denied", 403, "DENIED", Errc::kPermissionDenied, 1},
                                           StatusCase{"hidden", 404, "DENIED", Errc::kPermissionDenied, 1},
                                           StatusCase{"too_many", 429, "TOOMANYREQUESTS", Errc::kResourceExhausted, 3},
                                           StatusCase{"broken", 500, "UNKNOWN", Errc::kUnavailable, 3},
                                           StatusCase{"away", 503, "UNAVAILABLE", Errc::kUnavailable, 3},
                                           StatusCase{"teapot", 418, "", Errc::kInvalidArgument, 1}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST_F(Pull, RetryAfterIsWaitedFor) {
  std::atomic<int> requests = 0;
  HttpServer& server = serve([&](RecordedRequest const&) {
    if (++requests == 1) return Answer::of(429, "", {{"Retry-After", "1"}});
    return manifest_answer();
  });
  auto const begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(client().manifest(repository(server.origin()), "latest").ok());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s);
  EXPECT_EQ(requests, 2);
}

TEST_F(Pull, StopEndsTheWaiting) {
  HttpServer& server = serve([&](RecordedRequest const&) { return Answer::of(429, "", {{"Retry-After", "30"}}); });
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  auto const begin = std::chrono::steady_clock::now();
  EXPECT_EQ(client().manifest(repository(server.origin()), "latest", stop.get_token()).error().code(),
            Errc::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST_F(Pull, NobodyThere) {
  std::string origin;
  {
    HttpServer gone([](RecordedRequest const&) { return Answer::of(200, ""); });
    origin = gone.origin();
  }
  auto const found = client().manifest(repository(origin), "latest");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), Errc::kUnavailable) << found.error().to_string();
}

TEST_F(Pull, AMirrorGoesFirstAndTheRegistryAfterIt) {
  HttpServer& mirror = serve([](RecordedRequest const& request) {
    return request.target.find("/manifests/here") != std::string::npos ? manifest_answer() : Answer::of(404, "");
  });
  HttpServer& registry = serve([](RecordedRequest const&) { return manifest_answer(); });
  configure(registry.origin(), "server = \"" + registry.url("") + "\"\n[host.\"" + mirror.url("/m") + "\"]\n");
  ASSERT_TRUE(client().manifest(repository(registry.origin()), "here").ok());
  EXPECT_EQ(registry.requests().size(), 0U);
  EXPECT_EQ(mirror.requests().at(0).target, "/m/v2/a/b/manifests/here?ns=" + wire::percent_encode(registry.origin()));
  ASSERT_TRUE(client().manifest(repository(registry.origin()), "there").ok());
  EXPECT_EQ(registry.requests().size(), 1U);
  EXPECT_EQ(registry.requests().at(0).target, "/v2/a/b/manifests/there");
}

TEST_F(Pull, AMirrorThatIsAwayIsNotAskedTwice) {
  std::atomic<int> tries = 0;
  HttpServer& mirror = serve([&](RecordedRequest const&) {
    ++tries;
    return Answer::raw("", true);
  });
  HttpServer& registry = serve([](RecordedRequest const&) { return manifest_answer(); });
  configure(registry.origin(), "server = \"" + registry.url("") + "\"\n[host.\"" + mirror.url("") + "\"]\n");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client().manifest(repository(registry.origin()), "latest").ok());
  EXPECT_LE(tries, 2);  // one visit; HTTP may repeat a request on a connection that was closed at once
  EXPECT_EQ(registry.requests().size(), 3U);
}

TEST_F(Pull, LoopbackIsHttpsThenHttpAndRemembersWhich) {
  HttpServer server([](RecordedRequest const&) { return manifest_answer(); });
  ClientOptions quick = options();
  quick.http.timeouts.connect = 200ms;  // the server waits for the end of what it takes for a request
  Client both(quick, credentials_);
  for (int i = 0; i < 2; ++i) {
    auto const found = both.manifest(repository(server.origin()), "latest");
    ASSERT_TRUE(found.ok()) << found.error().to_string();
  }
  EXPECT_EQ(server.connections(), 2);  // the refused handshake, and the one that is kept
}

class Blobs : public ClientTest {
 protected:
  std::string read(HttpServer& server, std::string_view blob, std::uint64_t offset = 0) {
    auto source = client().blob(repository(server.origin()), testing::descriptor_of(blob), offset);
    if (!source.ok()) return source.error().to_string();
    auto bytes = codec::read_all(**source, blob.size() + 1000);
    return bytes.ok() ? *bytes : bytes.error().to_string();
  }
  std::string const blob_ = testing::some_bytes(300000);
};

TEST_F(Blobs, WholeAndFromAnOffset) {
  HttpServer& server = serve([&](RecordedRequest const& request) { return answer_range(request, blob_); });
  EXPECT_TRUE(read(server, blob_) == blob_);
  EXPECT_EQ(server.requests().at(0).header("Range"), "");
  EXPECT_TRUE(read(server, blob_, 1234) == blob_.substr(1234));
  EXPECT_EQ(server.requests().at(1).header("Range"), "bytes=1234-");
  EXPECT_EQ(read(server, blob_, blob_.size()), "");
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Blobs, EmptyOnes) {
  HttpServer& server = serve([&](RecordedRequest const& request) { return answer_range(request, ""); });
  EXPECT_EQ(read(server, ""), "");
}

// Gives `size` bytes of what was asked for and ends the connection.
Answer cut(RecordedRequest const& request, std::string_view blob, std::size_t size) {
  std::string bytes = answer_range(request, blob).bytes;
  std::size_t const body = bytes.find("\r\n\r\n") + 4;
  return Answer::raw(bytes.substr(0, std::min(bytes.size(), body + size)), true);
}

TEST_F(Blobs, GoOnAfterBrokenConnections) {
  HttpServer& server = serve([&](RecordedRequest const& request) { return cut(request, blob_, 40000); });
  EXPECT_TRUE(read(server, blob_) == blob_);  // eight connections with three attempts: progress resets the count
  EXPECT_EQ(server.requests().at(1).header("Range"), "bytes=40000-");
}

TEST_F(Blobs, GoOnWhereRangesAreIgnored) {
  std::atomic<int> requests = 0;
  HttpServer& server = serve([&](RecordedRequest const&) {
    RecordedRequest const plain;
    return ++requests < 3 ? cut(plain, blob_, 100000 * static_cast<std::size_t>(requests)) : Answer::of(200, blob_);
  });
  EXPECT_TRUE(read(server, blob_) == blob_);
  EXPECT_EQ(requests, 3);
}

TEST_F(Blobs, GiveUpWithoutProgress) {
  HttpServer& server = serve([&](RecordedRequest const& request) { return cut(request, blob_, 0); });
  auto source = client().blob(repository(server.origin()), testing::descriptor_of(blob_));
  ASSERT_TRUE(source.ok());
  auto const bytes = codec::read_all(**source, 1000000);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.error().code(), Errc::kUnavailable);
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(Blobs, WrongSizesAreRefused) {
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.target.find(testing::digest_of_text("short").hex()) != std::string::npos) return Answer::of(200, "sho");
    if (request.target.find(testing::digest_of_text("chunked").hex()) != std::string::npos) {
      return Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nchunked++\r\n0\r\n\r\n");
    }
    return Answer::of(200, "longer than that");
  });
  for (std::string_view const text : {"short", "long", "chunked"}) {
    auto source = client().blob(repository(server.origin()), testing::descriptor_of(text));
    Errc code = Errc::kInternal;
    if (!source.ok()) {
      code = source.error().code();
    } else if (auto const bytes = codec::read_all(**source, 1000); !bytes.ok()) {
      code = bytes.error().code();
    }
    EXPECT_EQ(code, Errc::kInvalidArgument) << text;
  }
}

TEST_F(Blobs, WrongRangesAreRefused) {
  for (std::string const range : {"bytes 0-99999/300000", "bytes 5-299999/299999", "bytes 5-299999", "nonsense"}) {
    HttpServer& server = serve([&, range](RecordedRequest const&) {
      return Answer::of(206, std::string_view(blob_).substr(5), {{"Content-Range", range}});
    });
    auto const source = client().blob(repository(server.origin()), testing::descriptor_of(blob_), 5);
    ASSERT_FALSE(source.ok()) << range;
    EXPECT_EQ(source.error().code(), Errc::kInvalidArgument);
  }
}

TEST_F(Blobs, ARedirectToAnotherOriginCarriesNoSecret) {
  HttpServer& storage = serve([&](RecordedRequest const& request) { return answer_range(request, blob_); });
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.header("Authorization").empty())
      return Answer::of(401, "", {{"WWW-Authenticate", "Basic realm=\"x\""}});
    return Answer::of(307, "", {{"Location", storage.url("/signed?key=1")}});
  });
  configure(server.origin(), "server = \"" + server.url("") + "\"\n[header]\nx-own = \"1\"\n");
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  EXPECT_TRUE(read(server, blob_) == blob_);
  ASSERT_EQ(storage.requests().size(), 1U);
  EXPECT_EQ(storage.requests().at(0).target, "/signed?key=1");
  EXPECT_EQ(storage.requests().at(0).header("Authorization"), "");
  EXPECT_EQ(storage.requests().at(0).header("x-own"), "");
  EXPECT_EQ(server.requests().back().header("x-own"), "1");
  EXPECT_EQ(server.requests().back().header("Authorization"), "Basic dTpw");
}

TEST_F(Blobs, RedirectsEnd) {
  HttpServer& server = serve([&](RecordedRequest const& request) {
    return Answer::of(302, "", {{"Location", request.target}});
  });
  auto const source = client().blob(repository(server.origin()), testing::descriptor_of(blob_));
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code(), Errc::kInvalidArgument);
}

TEST_F(Blobs, ForeignUrlsAreTriedAfterTheRegistryWithoutSecrets) {
  HttpServer& foreign = serve([&](RecordedRequest const& request) { return answer_range(request, blob_); });
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.header("Authorization").empty()) return Answer::of(401, "", {{"WWW-Authenticate", "Basic"}});
    return json_error(404, "BLOB_UNKNOWN");
  });
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  oci::Descriptor descriptor = testing::descriptor_of(blob_);
  EXPECT_EQ(client().blob(repository(server.origin()), descriptor).error().code(), Errc::kNotFound);
  descriptor.urls = {"ftp://x", foreign.url("/layer")};
  auto source = client().blob(repository(server.origin()), descriptor);
  ASSERT_TRUE(source.ok()) << source.error().to_string();
  EXPECT_TRUE(codec::read_all(**source, 1000000).value() == blob_);
  EXPECT_EQ(foreign.requests().at(0).header("Authorization"), "");
}

TEST_F(Blobs, StopEndsAStreamThatHangs) {
  HttpServer& server = serve([&](RecordedRequest const&) {
    return Answer::run([&](Channel& channel) {
      channel.write("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nabc");
      std::this_thread::sleep_for(500ms);
    });
  });
  std::stop_source stop;
  auto source = client().blob(repository(server.origin()), testing::descriptor_of(blob_), 0, stop.get_token());
  ASSERT_TRUE(source.ok());
  EXPECT_TRUE((*source)->next().ok());
  stop.request_stop();
  auto const begin = std::chrono::steady_clock::now();
  EXPECT_EQ((*source)->next().error().code(), Errc::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 400ms);
}

}  // namespace
}  // namespace davit::registry
