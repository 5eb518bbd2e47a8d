#include <atomic>

#include "registry/referrers.h"
#include "registry/testing/client_fixture.h"

namespace davit::registry {
namespace {

using testing::ClientTest;
using testing::count;
using testing::kManifestText;
using wire::testing::Answer;
using wire::testing::HttpServer;
using wire::testing::RecordedRequest;

// A registry that takes uploads, with faults where a test puts them.
class Push : public ClientTest {
 protected:
  std::string const blob_ = testing::some_bytes(10 << 20);
  oci::Digest const digest_ = testing::digest_of_text(blob_);
  int opened_ = 0;

  Client::Open open() {
    return [this](std::uint64_t offset) -> Result<std::unique_ptr<codec::Source>> {
      ++opened_;
      return std::unique_ptr<codec::Source>(
          std::make_unique<codec::MemorySource>(std::string_view(blob_).substr(offset), 100000));
    };
  }
  Errc upload(HttpServer& server) {
    auto const done = client().upload_blob(repository(server.origin()), digest_, blob_.size(), open());
    last_error_ = done.ok() ? "" : done.error().to_string();
    return done.ok() ? kOk : done.error().code();
  }
  Answer accepted(std::string const& location, std::size_t have = 0) {
    return Answer::of(202, "", {{"Location", location}, {"Range", "0-" + std::to_string(have > 0 ? have - 1 : 0)}});
  }
  static constexpr Errc kOk = Errc::kInternal;
  std::string last_error_;
};

bool is_post(RecordedRequest const& request) { return request.method == "POST"; }

TEST_F(Push, InOnePieceToARelativeLocationWithAQuery) {
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") return accepted("/v2/a/b/blobs/uploads/1?state=x");
    return Answer::of(201, "", {{"Docker-Content-Digest", digest_.text()}});
  });
  EXPECT_EQ(upload(server), kOk) << last_error_;
  auto const requests = server.requests();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].target, "/v2/a/b/blobs/uploads/");
  EXPECT_EQ(requests[1].target, "/v2/a/b/blobs/uploads/1?state=x&digest=sha256%3A" + std::string(digest_.hex()));
  EXPECT_TRUE(requests[1].body == blob_);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Push, AnotherOriginGetsNoSecret) {
  HttpServer& storage = serve([](RecordedRequest const&) { return Answer::of(201, ""); });
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.header("Authorization").empty()) return Answer::of(401, "", {{"WWW-Authenticate", "Basic"}});
    return accepted(storage.url("/put"));
  });
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  EXPECT_EQ(upload(server), kOk) << last_error_;
  EXPECT_EQ(storage.requests().at(0).header("Authorization"), "");
  EXPECT_TRUE(storage.requests().at(0).body == blob_);
}

TEST_F(Push, AnotherDigestStoredIsAnError) {
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") return accepted("/u");
    return Answer::of(201, "", {{"Docker-Content-Digest", testing::digest_of_text("x").text()}});
  });
  EXPECT_EQ(upload(server), Errc::kInvalidArgument);
}

// PATCHes go into one string, checked for order.
class Chunks {
 public:
  Answer take(RecordedRequest const& request) {
    std::string const expected = std::to_string(bytes_.size()) + "-";
    if (!request.header("Content-Range").starts_with(expected)) return Answer::of(416, "");
    bytes_ += request.body;
    return Answer::of(
        202, "",
        {{"Location", "/u?at=" + std::to_string(bytes_.size())}, {"Range", "0-" + std::to_string(bytes_.size() - 1)}});
  }
  std::string bytes_;
};

TEST_F(Push, InPiecesWhereTheRegistryHasAMinimum) {
  Chunks chunks;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") {
      return Answer::of(202, "", {{"Location", "/u"}, {"OCI-Chunk-Min-Length", "9000000"}});
    }
    if (request.method == "PATCH") return chunks.take(request);
    return Answer::of(request.body.empty() ? 201 : 500, "");
  });
  EXPECT_EQ(upload(server), kOk) << last_error_;
  EXPECT_TRUE(chunks.bytes_ == blob_);
  EXPECT_EQ(count(server, [](auto const& request) { return request.method == "PATCH"; }), 2);
}

TEST_F(Push, InPiecesAfterTooLarge) {
  Chunks chunks;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") return accepted("/u");
    if (request.method == "PATCH") return chunks.take(request);
    return Answer::of(request.body.empty() ? 201 : 413, "");
  });
  EXPECT_EQ(upload(server), kOk) << last_error_;
  EXPECT_TRUE(chunks.bytes_ == blob_);
}

TEST_F(Push, GoesOnWhereTheRegistryStopped) {
  std::string kept;
  std::atomic<int> puts = 0;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") return accepted("/u");
    if (request.method == "GET") {
      return Answer::raw("HTTP/1.1 204 No\r\nLocation: /u2\r\nRange: 0-" + std::to_string(kept.size() - 1) +
                         "\r\n\r\n");
    }
    if (++puts == 1) {
      kept = request.body.substr(0, 5000000);
      return Answer::of(503, "");
    }
    kept += request.body;
    return Answer::of(201, "");
  });
  EXPECT_EQ(upload(server), kOk) << last_error_;
  EXPECT_TRUE(kept == blob_);
  EXPECT_TRUE(server.requests().back().target.starts_with("/u2?digest="));
  EXPECT_EQ(count(server, is_post), 1);
}

TEST_F(Push, BeginsAnewWhereTheRegistryForgot) {
  std::atomic<int> puts = 0;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") return accepted("/u");
    if (request.method == "GET") return Answer::of(404, "");
    return ++puts < 3 ? Answer::raw("", true) : Answer::of(request.body == blob_ ? 201 : 400, "");
  });
  EXPECT_EQ(upload(server), kOk) << last_error_;
  EXPECT_EQ(count(server, is_post), 3);
}

TEST_F(Push, GivesUp) {
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "POST") return accepted("/u");
    return Answer::of(request.method == "GET" ? 404 : 500, "");
  });
  EXPECT_EQ(upload(server), Errc::kUnavailable);
  EXPECT_EQ(count(server, [](auto const& request) { return request.method == "PUT"; }), 3);
}

TEST_F(Push, AnErrorOfTheSourceIsTheSources) {
  HttpServer& server = serve(
      [&](RecordedRequest const& request) { return request.method == "POST" ? accepted("/u") : Answer::of(201, ""); });
  auto const broken = client().upload_blob(
      repository(server.origin()), digest_, blob_.size(),
      [](std::uint64_t) -> Result<std::unique_ptr<codec::Source>> { return Error(Errc::kNotFound, "gone"); });
  EXPECT_EQ(broken.error().code(), Errc::kNotFound);
  auto const shorter = client().upload_blob(repository(server.origin()), digest_, blob_.size() + 1, open());
  EXPECT_EQ(shorter.error().code(), Errc::kInvalidArgument);
}

TEST_F(Push, AnEmptyBlob) {
  HttpServer& server = serve(
      [&](RecordedRequest const& request) { return request.method == "POST" ? accepted("/u") : Answer::of(201, ""); });
  EXPECT_TRUE(client().upload_blob(repository(server.origin()), testing::digest_of_text(""), 0, open()).ok());
}

TEST_F(Push, MountsOrCancelsWhatCameInstead) {
  std::atomic<bool> mounts = true;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "DELETE") return Answer::raw("HTTP/1.1 204 No\r\n\r\n");
    if (request.target.find("/other/") != std::string::npos) return Answer::of(405, "");
    return mounts ? Answer::of(201, "", {{"Location", "/x"}}) : accepted("/u9");
  });
  auto const target = repository(server.origin());
  EXPECT_TRUE(client().mount_blob(target, digest_, "from/here").value());
  EXPECT_EQ(server.requests().at(0).target,
            "/v2/a/b/blobs/uploads/?mount=sha256%3A" + std::string(digest_.hex()) + "&from=from%2Fhere");
  mounts = false;
  EXPECT_FALSE(client().mount_blob(target, digest_, "from/here").value());
  EXPECT_EQ(server.requests().back().method, "DELETE");
  EXPECT_EQ(server.requests().back().target, "/u9");
  EXPECT_FALSE(client().mount_blob(repository(server.origin(), "other/x"), digest_, "from/here").value());
}

TEST_F(Push, StreamedThenCommittedOrCancelled) {
  std::string streamed;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.method == "PATCH") {
      streamed = request.body;
      return Answer::of(202, "", {{"Location", "/u?done"}});
    }
    if (request.method == "PUT") return Answer::of(201, "");
    return request.method == "POST" ? accepted("/u") : Answer::raw("HTTP/1.1 204 No\r\n\r\n");
  });
  codec::MemorySource source(blob_, 70000);
  auto sent = client().stream_blob(repository(server.origin()), source);
  ASSERT_TRUE(sent.ok()) << sent.error().to_string();
  EXPECT_TRUE(streamed == blob_);
  EXPECT_EQ(server.requests().at(1).header("Transfer-Encoding"), "chunked");
  EXPECT_TRUE((*sent)->commit(digest_).ok());
  EXPECT_TRUE(server.requests().back().target.starts_with("/u?done&digest="));
  codec::MemorySource again(blob_);
  (void)client().stream_blob(repository(server.origin()), again).ok();
  EXPECT_EQ(server.requests().back().method, "DELETE");
}

TEST_F(Push, HasBlob) {
  HttpServer& server = serve([&](RecordedRequest const& request) {
    bool const there = request.target.find(digest_.hex()) != std::string::npos;
    return there ? Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n") : Answer::of(404, "");
  });
  EXPECT_TRUE(client().has_blob(repository(server.origin()), digest_).value());
  EXPECT_FALSE(client().has_blob(repository(server.origin()), testing::digest_of_text("")).value());
}

TEST_F(Push, Manifests) {
  std::string const digest = testing::digest_of_text(kManifestText).text();
  std::atomic<int> puts = 0;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (++puts == 1) return Answer::of(502, "");
    std::string const stored = request.target.ends_with("lying") ? testing::digest_of_text("x").text() : digest;
    return Answer::of(201, "", {{"Docker-Content-Digest", stored}});
  });
  auto const target = repository(server.origin());
  auto const put = [&](std::string_view reference) {
    return client().put_manifest(target, reference, kManifestText, oci::kOciManifest);
  };
  EXPECT_EQ(put("latest")->text(), digest);
  EXPECT_EQ(puts, 2);
  EXPECT_EQ(server.requests().at(1).header("Content-Type"), oci::kOciManifest);
  EXPECT_TRUE(put(digest).ok());
  EXPECT_EQ(put("lying").error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(put(testing::digest_of_text("x").text()).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(put("no/tag").error().code(), Errc::kInvalidArgument);
}

std::string with_subject() {
  std::string text(kManifestText);
  text.pop_back();
  return text + R"(,"artifactType":"application/x-sbom","subject":{"mediaType":")" + std::string(oci::kOciManifest) +
         R"(","digest":")" + testing::digest_of_text("subject").text() + R"(","size":7}})";
}

TEST_F(Push, ASubjectUpdatesTheFallbackTag) {
  std::map<std::string, std::string> stored;
  std::atomic<bool> knows_subjects = false;
  HttpServer& server = serve([&](RecordedRequest const& request) {
    if (request.target.find("/referrers/") != std::string::npos) return Answer::of(404, "");
    if (request.method == "GET") {
      auto const found = stored.find(request.target);
      return found == stored.end() ? Answer::of(404, "") : Answer::of(200, found->second);
    }
    stored[request.target] = request.body;
    Answer::Headers headers;
    if (knows_subjects) headers.emplace_back("OCI-Subject", testing::digest_of_text("subject").text());
    return Answer::of(201, "", headers);
  });
  auto const target = repository(server.origin());
  oci::Digest const subject = testing::digest_of_text("subject");
  ASSERT_TRUE(client().put_manifest(target, "sbom", with_subject(), oci::kOciManifest).ok());
  EXPECT_EQ(stored.count("/v2/a/b/manifests/" + referrers_tag(subject)), 1U);
  auto const found = client().referrers(target, subject);
  ASSERT_TRUE(found.ok()) << found.error().to_string();
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(found->at(0).digest, testing::digest_of_text(with_subject()));
  EXPECT_EQ(found->at(0).artifact_type, "application/x-sbom");
  EXPECT_TRUE(client().referrers(target, subject, "application/other")->empty());
  // Again: the entry is there already, and a registry that knows subjects needs no tag.
  std::size_t const requests = server.requests().size();
  ASSERT_TRUE(client().put_manifest(target, "sbom", with_subject(), oci::kOciManifest).ok());
  EXPECT_EQ(server.requests().size(), requests + 2);
  knows_subjects = true;
  ASSERT_TRUE(client().put_manifest(target, "sbom", with_subject(), oci::kOciManifest).ok());
  EXPECT_EQ(server.requests().size(), requests + 3);
}

class Lists : public ClientTest {};

TEST_F(Lists, TagsOfAllPages) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    if (request.target.find("last=b") != std::string::npos) return Answer::of(200, R"({"name":"a/b","tags":["c"]})");
    return Answer::of(200, R"({"name":"a/b","tags":["a","b","../no"]})",
                      {{"Link", "</v2/a/b/tags/list?n=2&last=b>; rel=\"next\""}});
  });
  auto const tags = client().tags(repository(server.origin()));
  ASSERT_TRUE(tags.ok()) << tags.error().to_string();
  EXPECT_EQ(*tags, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(Lists, APageElsewhereIsNotFollowed) {
  HttpServer& other = serve([](RecordedRequest const&) { return Answer::of(200, R"({"tags":["x"]})"); });
  HttpServer& server = serve([&](RecordedRequest const&) {
    return Answer::of(200, R"({"tags":null})", {{"Link", "<" + other.url("/v2/a/b/tags/list") + ">; rel=\"next\""}});
  });
  EXPECT_EQ(client().tags(repository(server.origin())).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(other.requests().size(), 0U);
}

TEST_F(Lists, WrongAnswersAreErrors) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    return Answer::of(200, request.target.find("/list/") != std::string::npos ? "[]" : R"({"tags":[{}]})");
  });
  EXPECT_EQ(client().tags(repository(server.origin(), "list/x")).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(client().tags(repository(server.origin(), "type/x")).error().code(), Errc::kInvalidArgument);
}

TEST_F(Lists, ReferrersOfTheApi) {
  oci::Digest const subject = testing::digest_of_text("subject");
  HttpServer& server = serve([&](RecordedRequest const&) {
    return Answer::of(200, R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[)"
                           R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
                               subject.text() +
                               R"(","size":3,"artifactType":"t/one"},)"
                               R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" +
                               subject.text() + R"(","size":3,"artifactType":"t/two"}]})");
  });
  auto const found = client().referrers(repository(server.origin()), subject, "t/two");
  ASSERT_TRUE(found.ok()) << found.error().to_string();
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(server.requests().at(0).target, "/v2/a/b/referrers/" + subject.text() + "?artifactType=t%2Ftwo");
}

TEST_F(Lists, Deletion) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    return Answer::of(request.target.find("/kept/") != std::string::npos ? 405 : 202, "");
  });
  oci::Digest const digest = testing::digest_of_text("x");
  EXPECT_TRUE(client().delete_manifest(repository(server.origin()), digest).ok());
  EXPECT_EQ(client().delete_manifest(repository(server.origin(), "kept/x"), digest).error().code(),
            Errc::kUnimplemented);
}

}  // namespace
}  // namespace davit::registry
