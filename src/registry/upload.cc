#include "registry/upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/text.h"

namespace davit::registry {

namespace {

constexpr std::chrono::milliseconds kCancelTime{3000};

// A source's part, and what became of it: an error of the source must be told from one of the connection.
class PartSource : public codec::Source {
 public:
  PartSource(std::unique_ptr<codec::Source> inner, std::uint64_t size, std::optional<Error>& error)
      : inner_(std::move(inner)), left_(size), error_(error) {}

  Result<std::string_view> next() override {
    if (left_ == 0) return std::string_view();
    auto bytes = inner_->next();
    if (!bytes.ok()) {
      error_ = Error(bytes.error().code(), bytes.error().to_string(), bytes.error().error_number());
      return bytes;
    }
    if (bytes->empty()) {
      error_ = Error(Errc::kInvalidArgument, fmt::format("the blob to push is {} bytes shorter than its size", left_));
      return Error(Errc::kInvalidArgument, "short blob");
    }
    std::string_view const part = bytes->substr(0, std::min<std::uint64_t>(left_, bytes->size()));
    left_ -= part.size();
    return part;
  }

 private:
  std::unique_ptr<codec::Source> inner_;
  std::uint64_t left_;
  std::optional<Error>& error_;
};

// "0-4095": how far an upload is. A registry that has nothing yet says "0-0", as distribution does.
std::optional<std::uint64_t> received(wire::HttpResponse const& response) {
  std::string const* range = response.header("Range");
  if (range == nullptr) return std::nullopt;
  std::string_view text = trim(*range);
  if (text.starts_with("bytes=")) text.remove_prefix(6);
  if (!text.starts_with("0-")) return std::nullopt;
  auto const last = parse_u64(text.substr(2));
  if (!last) return std::nullopt;
  return *last == 0 ? 0 : *last + 1;
}

}  // namespace

Request UploadSession::request(std::string method) const {
  Request request;
  request.method = std::move(method);
  request.scopes = Scopes::push(repository_.path);
  request.url = location_;
  request.repeatable = false;  // what is repeated, and from where, is decided by the caller
  return request;
}

// Where the upload goes on. A registry behind a proxy that ends TLS often names itself with http://; the bytes, and the
// login, stay on the connection's own scheme.
Result<void> UploadSession::move_to(wire::HttpResponse const& response) {
  std::string const* location = response.header("Location");
  if (location == nullptr) {
    if (location_) return {};
    return Error(Errc::kInvalidArgument, visit_.endpoint.base + ": an upload without Location");
  }
  wire::Url const base = TRY(wire::Url::parse(visit_.endpoint.base));
  wire::Url url = TRY_CTX((location_ ? *location_ : base).resolve(*location), visit_.endpoint.base + ": Location");
  if (url.scheme == "http" && base.scheme == "https") {
    if (url.host != base.host) {
      return Error(Errc::kPermissionDenied, fmt::format("{} wants the blob to be sent to {} without TLS; not done",
                                                        visit_.endpoint.base, url.host_header()));
    }
    url.scheme = base.scheme;
    url.port = base.port;
  }
  location_ = std::move(url);
  return {};
}

Result<bool> UploadSession::begin(std::string const& query, Scopes const& more_scopes, std::stop_token const& stop) {
  Request post;
  post.method = "POST";
  post.path = fmt::format("{}/blobs/uploads/{}{}", repository_.path, query.empty() ? "" : "?", query);
  post.scopes = Scopes::push(repository_.path).merged(more_scopes);
  Response const response = TRY(session_.send(visit_, post, stop));
  if (response->status() == 201 && !query.empty()) return true;
  if (response->status() != 202) return refusal(*response, visit_, repository_, Doing::kPush);
  location_.reset();
  TRY(move_to(*response));
  std::string const* minimum = response->header("OCI-Chunk-Min-Length");
  min_chunk_ = minimum == nullptr ? 0 : parse_u64(trim(*minimum)).value_or(0);
  return false;
}

wire::Url UploadSession::finish_url(oci::Digest const& digest) const {
  wire::Url url = *location_;
  url.target += url.target.find('?') == std::string::npos ? '?' : '&';
  url.target += "digest=" + wire::percent_encode(digest.text());
  return url;
}

Result<UploadSession::Sent> UploadSession::judge(Result<Response> response, std::optional<Error> const& source_error,
                                                 int expected, oci::Digest const* digest) {
  if (source_error) {
    return Error(source_error->code(), source_error->to_string(), source_error->error_number());
  }
  if (!response.ok()) {
    if (response.error().code() != Errc::kUnavailable) return std::move(response).take_error();
    return Sent{Outcome::kAgain, std::move(response).take_error()};
  }
  int const status = (*response)->status();
  if (status == expected || (digest != nullptr && (status == 200 || status == 204))) {
    auto const stored = digest == nullptr ? std::nullopt : content_digest(**response);
    if (stored && stored->algorithm() == digest->algorithm() && *stored != *digest) {
      return Error(Errc::kInvalidArgument,
                   fmt::format("{} stored {} instead of {}", visit_.endpoint.base, stored->text(), digest->text()));
    }
    if (digest == nullptr) TRY(move_to(**response));
    return Sent{};
  }
  Error error = refusal(**response, visit_, repository_, Doing::kPush);
  if (status == 413) return Sent{Outcome::kTooLarge, std::move(error)};
  // 404: it has forgotten the upload; 416: it is at another offset.
  if (is_transient(status) || status == 404 || status == 416) return Sent{Outcome::kAgain, std::move(error)};
  return error;
}

Result<UploadSession::Sent> UploadSession::put(Client::Open const& open, std::uint64_t offset, std::uint64_t size,
                                               oci::Digest const& digest, std::stop_token const& stop) {
  std::optional<Error> source_error;
  Request put = request("PUT");
  put.url = finish_url(digest);
  put.headers = {{"Content-Type", "application/octet-stream"}};
  if (offset < size) {
    put.body_size = size - offset;
    if (offset > 0) put.headers.emplace_back("Content-Range", fmt::format("{}-{}", offset, size - 1));
    put.open_body = [&]() -> Result<std::unique_ptr<codec::Source>> {
      auto source = open(offset);
      if (!source.ok()) {
        source_error = Error(source.error().code(), source.error().to_string(), source.error().error_number());
        return source;
      }
      return std::unique_ptr<codec::Source>(
          std::make_unique<PartSource>(*std::move(source), size - offset, source_error));
    };
  }
  auto response = session_.send(visit_, put, stop);
  return judge(std::move(response), source_error, 201, &digest);
}

Result<UploadSession::Sent> UploadSession::patch(Client::Open const& open, std::uint64_t& offset, std::uint64_t size,
                                                 std::stop_token const& stop) {
  std::optional<Error> source_error;
  Request patch = request("PATCH");
  patch.headers = {{"Content-Type", "application/octet-stream"},
                   {"Content-Range", fmt::format("{}-{}", offset, offset + size - 1)}};
  patch.body_size = size;
  patch.open_body = [&]() -> Result<std::unique_ptr<codec::Source>> {
    auto source = open(offset);
    if (!source.ok()) {
      source_error = Error(source.error().code(), source.error().to_string(), source.error().error_number());
      return source;
    }
    return std::unique_ptr<codec::Source>(std::make_unique<PartSource>(*std::move(source), size, source_error));
  };
  auto response = session_.send(visit_, patch, stop);
  std::optional<std::uint64_t> now;
  if (response.ok()) now = received(**response);
  Sent sent = TRY(judge(std::move(response), source_error, 202, nullptr));
  if (sent.outcome != Outcome::kDone) return sent;
  std::uint64_t const reached = now.value_or(offset + size);
  if (reached > offset + size || reached <= offset) {
    return Error(Errc::kInvalidArgument, fmt::format("{}: sent bytes {}-{}, the registry says that it has {}",
                                                     visit_.endpoint.base, offset, offset + size - 1, reached));
  }
  offset = reached;
  return sent;
}

Result<void> UploadSession::stream(codec::Source& source, std::stop_token const& stop) {
  Request patch = request("PATCH");
  patch.headers = {{"Content-Type", "application/octet-stream"}};
  patch.once_body = &source;
  Response const response = TRY(session_.send(visit_, patch, stop));
  // 204 and 201 are what some gateways make of it.
  if (response->status() != 202 && response->status() != 204 && response->status() != 201) {
    return refusal(*response, visit_, repository_, Doing::kPush);
  }
  return move_to(*response);
}

std::optional<std::uint64_t> UploadSession::progress(std::stop_token const& stop) {
  auto const response = session_.send(visit_, request("GET"), stop);
  if (!response.ok() || (*response)->status() != 204) return std::nullopt;
  if (!move_to(**response).ok()) return std::nullopt;
  return received(**response);
}

void UploadSession::cancel() {
  if (!location_) return;
  // Nobody needs to know whether it worked, as a registry purges what is left; so nobody waits for it for long.
  std::stop_source too_late;
  std::jthread const limit([&too_late](std::stop_token const& done) {
    if (pause(kCancelTime, done).ok()) too_late.request_stop();
  });
  (void)session_.send(visit_, request("DELETE"), too_late.get_token()).ok();
  location_.reset();
}

}  // namespace davit::registry
