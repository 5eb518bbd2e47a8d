// Client: what writes to a registry.
#include <fmt/format.h>

#include <algorithm>

#include "registry/client_body.h"
#include "registry/referrers.h"
#include "registry/upload.h"

namespace davit::registry {

namespace {

using Outcome = UploadSession::Outcome;
using Sent = UploadSession::Sent;

// Uploads one blob, however often it has to begin anew.
class BlobUpload {
 public:
  BlobUpload(Session& session, Visit& visit, Repository const& repository, oci::Digest const& digest,
             std::uint64_t size, Client::Open const& open)
      : session_(session), upload_(session, visit, repository), digest_(digest), size_(size), open_(open) {}

  Result<void> run(std::stop_token const& stop) {
    unsigned failures = 0;
    std::uint64_t furthest = 0;
    for (;;) {
      Sent sent = TRY(attempt(stop));
      if (sent.outcome == Outcome::kDone) return {};
      if (sent.outcome == Outcome::kTooLarge) {
        // In pieces it may fit; a piece that does not is the end of it.
        if (chunk_ > 0) return std::move(sent.error);
        chunk_ = kChunkBytes;
        begun_ = false;
        continue;
      }
      // Progress means that it is worth going on.
      if (offset_ > furthest) failures = 0;
      furthest = std::max(furthest, offset_);
      if (++failures >= session_.policy().attempts) return std::move(sent.error);
      TRY(back_off(session_.policy(), failures, stop));
      resume(stop);
    }
  }

 private:
  Result<Sent> attempt(std::stop_token const& stop) {
    if (!begun_) {
      TRY(upload_.begin("", {}, stop));
      begun_ = true;
      offset_ = 0;
      if (upload_.min_chunk() > 0) chunk_ = std::max(kChunkBytes, upload_.min_chunk());
    }
    if (chunk_ == 0) return upload_.put(open_, offset_, size_, digest_, stop);
    while (offset_ < size_) {
      Sent sent = TRY(upload_.patch(open_, offset_, std::min(chunk_, size_ - offset_), stop));
      if (sent.outcome != Outcome::kDone) return sent;
    }
    return upload_.put(open_, size_, size_, digest_, stop);
  }

  // What the registry kept need not be sent again. An upload that was resumed once and failed is given up: it may be
  // one that the registry holds and will never take.
  void resume(std::stop_token const& stop) {
    auto const kept = resumed_ ? std::nullopt : upload_.progress(stop);
    resumed_ = kept.has_value() && *kept > 0 && *kept <= size_;
    if (resumed_) {
      offset_ = *kept;
    } else {
      begun_ = false;
    }
  }

  Session& session_;
  UploadSession upload_;
  oci::Digest const& digest_;
  std::uint64_t const size_;
  Client::Open const& open_;
  std::uint64_t offset_ = 0, chunk_ = 0;
  bool begun_ = false, resumed_ = false;
};

class StreamedUpload : public Client::Upload {
 public:
  StreamedUpload(Session& session, Visit const& visit, Repository const& repository, std::stop_token const& stop)
      : endpoint_(visit.endpoint),
        domain_(visit.domain),
        repository_(repository),
        session_(session),
        visit_{endpoint_, domain_, visit.attempts, false, visit.logged_in},
        upload_(session, visit_, repository_),
        stop_(stop) {}
  ~StreamedUpload() override {
    if (!committed_) upload_.cancel();
  }

  Result<void> send(codec::Source& source) {
    TRY(upload_.begin("", {}, stop_));
    return upload_.stream(source, stop_);
  }

  bool answered() const { return visit_.answered; }

  Result<void> commit(oci::Digest const& digest) override {
    for (unsigned failures = 1;; ++failures) {
      Sent sent = TRY(upload_.put({}, 0, 0, digest, stop_));
      if (sent.outcome == Outcome::kDone) break;
      // All bytes are there: worth more than one try.
      if (failures >= session_.policy().attempts) return std::move(sent.error);
      TRY(back_off(session_.policy(), failures, stop_));
    }
    committed_ = true;
    return {};
  }

 private:
  Endpoint const endpoint_;
  std::string const domain_;
  Repository const repository_;
  Session& session_;
  Visit visit_;
  UploadSession upload_;
  std::stop_token const stop_;
  bool committed_ = false;
};

}  // namespace

Result<bool> Client::has_blob(Repository const& repository, oci::Digest const& digest, std::stop_token const& stop) {
  // Asked where a push would go: that a mirror has it does not help there.
  return body_->session.try_endpoints<bool>(repository.domain, Use::kPush, stop, [&](Visit& visit) -> Result<bool> {
    Request request;
    request.method = "HEAD";
    request.path = fmt::format("{}/blobs/{}", repository.path, digest.text());
    request.scopes = Scopes::push(repository.path);
    request.content_checked = true;
    Response const response = TRY(body_->session.send(visit, request, stop));
    if (response->status() == 200) return true;
    if (response->status() == 404) return false;
    return refusal(*response, visit, repository, Doing::kPush);
  });
}

Result<bool> Client::mount_blob(Repository const& repository, oci::Digest const& digest, std::string_view from_path,
                                std::stop_token const& stop) {
  return body_->session.try_endpoints<bool>(repository.domain, Use::kPush, stop, [&](Visit& visit) -> Result<bool> {
    UploadSession upload(body_->session, visit, repository);
    std::string const query =
        fmt::format("mount={}&from={}", wire::percent_encode(digest.text()), wire::percent_encode(from_path));
    auto mounted = upload.begin(query, Scopes::pull(from_path), stop);
    if (mounted.ok()) {
      if (!*mounted) upload.cancel();
      return mounted;
    }
    // A registry that cannot or may not do this takes the upload instead; if not, that says why.
    Errc const code = mounted.error().code();
    bool const refused = code == Errc::kPermissionDenied || code == Errc::kNotFound || code == Errc::kUnimplemented ||
                         code == Errc::kInvalidArgument;
    if (visit.answered && refused) return false;
    return mounted;
  });
}

Result<void> Client::upload_blob(Repository const& repository, oci::Digest const& digest, std::uint64_t size, Open open,
                                 std::stop_token const& stop) {
  return body_->session.try_endpoints<void>(repository.domain, Use::kPush, stop, [&](Visit& visit) -> Result<void> {
    BlobUpload upload(body_->session, visit, repository, digest, size, open);
    auto done = upload.run(stop);
    if (done.ok()) return done;
    return std::move(done).take_error().with_context("push " + digest.text());
  });
}

Result<std::unique_ptr<Client::Upload>> Client::stream_blob(Repository const& repository, codec::Source& source,
                                                            std::stop_token const& stop) {
  using Made = std::unique_ptr<Upload>;
  return body_->session.try_endpoints<Made>(repository.domain, Use::kPush, stop, [&](Visit& visit) -> Result<Made> {
    auto upload = std::make_unique<StreamedUpload>(body_->session, visit, repository, stop);
    auto sent = upload->send(source);
    visit.answered = upload->answered();
    if (!sent.ok()) return std::move(sent).take_error();
    return Made(std::move(upload));
  });
}

namespace {

Result<Response> put_document(Session& session, Visit& visit, Repository const& repository, std::string_view reference,
                              std::string_view bytes, std::string_view media_type, std::stop_token const& stop) {
  Request request;
  request.method = "PUT";
  request.path = fmt::format("{}/manifests/{}", repository.path, reference);
  request.headers = {{"Content-Type", std::string(media_type)}};
  request.body = bytes;
  request.scopes = Scopes::push(repository.path);
  Response response = TRY(session.send(visit, request, stop));
  if (response->status() == 201 || response->status() == 200 || response->status() == 202) return response;
  return refusal(*response, visit, repository, Doing::kPush,
                 fmt::format("manifest {}:{}", familiar(repository), reference));
}

// A registry that does not know subjects keeps the list of referrers under a tag, which the client writes. Two clients
// that do this at the same time for one subject may lose one entry: the specification has no lock for it.
Result<void> update_referrers_tag(Session& session, Visit& visit, Repository const& repository,
                                  Referrer const& referrer, std::stop_token const& stop) {
  std::string const tag = referrers_tag(referrer.subject);
  Request get;
  get.path = fmt::format("{}/manifests/{}", repository.path, tag);
  get.headers = {{"Accept", std::string(oci::kOciIndex)}};
  get.scopes = Scopes::push(repository.path);
  Response const response = TRY(session.send(visit, get, stop));
  std::string old;
  if (response->status() == 200) {
    old = TRY(codec::read_all(*response, oci::ManifestLimits{}.max_bytes));
  } else if (response->status() != 404) {
    return refusal(*response, visit, repository, Doing::kPush, "manifest " + tag);
  }
  auto const index = TRY(with_referrer(old, referrer.descriptor));
  if (index) TRY(put_document(session, visit, repository, tag, *index, oci::kOciIndex, stop));
  return {};
}

}  // namespace

Result<oci::Digest> Client::put_manifest(Repository const& repository, std::string_view reference,
                                         std::string_view bytes, std::string_view media_type,
                                         std::stop_token const& stop) {
  std::optional<oci::Digest> wanted;
  if (reference.find(':') != std::string_view::npos) wanted = TRY(oci::Digest::parse(reference));
  if (!wanted && !oci::is_valid_tag(reference)) {
    return Error(Errc::kInvalidArgument, fmt::format("'{}' is neither a tag nor a digest", printable(reference)));
  }
  oci::Digest const digest = digest_of(bytes, wanted ? &*wanted : nullptr);
  if (wanted && digest != *wanted) {
    return Error(Errc::kInvalidArgument, fmt::format("the manifest's digest is {}, not {}", digest.text(), reference));
  }
  // What is no image manifest may be stored too; it then has no subject that we could know of.
  std::optional<Referrer> referrer;
  if (bytes.find("\"subject\"") != std::string_view::npos) {
    auto found = referrer_of(bytes, media_type, digest);
    if (found.ok()) referrer = *std::move(found);
  }
  using Stored = std::optional<oci::Digest>;
  auto stored =
      body_->session.try_endpoints<Stored>(repository.domain, Use::kPush, stop, [&](Visit& visit) -> Result<Stored> {
        Response const response =
            TRY(put_document(body_->session, visit, repository, reference, bytes, media_type, stop));
        auto said = content_digest(*response);
        if (said && said->algorithm() == digest.algorithm() && *said != digest) {
          return Error(Errc::kInvalidArgument, fmt::format("{} stored the manifest as {}; it is {}",
                                                           visit.endpoint.base, said->text(), digest.text()));
        }
        if (referrer && response->header("OCI-Subject") == nullptr) {
          TRY(update_referrers_tag(body_->session, visit, repository, *referrer, stop));
        }
        return Stored(digest);
      });
  if (!stored.ok()) return std::move(stored).take_error();
  return digest;
}

}  // namespace davit::registry
