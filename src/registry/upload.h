// One blob upload at a registry (distribution-spec 1.1, "Pushing Blobs"): begin, bytes, finish. One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "codec/stream.h"
#include "oci/digest.h"
#include "registry/client_body.h"

namespace davit::registry {

// The size of a PATCH where the registry wants chunks and names no larger minimum.
inline constexpr std::uint64_t kChunkBytes = std::uint64_t{8} << 20;

class UploadSession {
 public:
  // All borrowed.
  UploadSession(Session& session, Visit& visit, Repository const& repository)
      : session_(session), visit_(visit), repository_(repository) {}

  // POST; query: "" or "mount=...&from=...". True: a mount was done and there is no upload.
  Result<bool> begin(std::string const& query, Scopes const& more_scopes, std::stop_token const& stop);

  // What became of sending bytes. kAgain: transient, or the upload is gone: another attempt may do it.
  enum class Outcome { kDone, kAgain, kTooLarge };
  struct Sent {
    Outcome outcome = Outcome::kDone;
    Error error{Errc::kInternal, ""};  // of kAgain and kTooLarge
  };
  // PUT of everything from `offset` on, with the digest.
  Result<Sent> put(Client::Open const& open, std::uint64_t offset, std::uint64_t size, oci::Digest const& digest,
                   std::stop_token const& stop);
  // PATCH of one piece; offset moves to where the registry is now.
  Result<Sent> patch(Client::Open const& open, std::uint64_t& offset, std::uint64_t size, std::stop_token const& stop);
  // PATCH of unknown length.
  Result<void> stream(codec::Source& source, std::stop_token const& stop);
  // How many bytes the registry has; nullopt: it has forgotten the upload.
  std::optional<std::uint64_t> progress(std::stop_token const& stop);
  void cancel();

  std::uint64_t min_chunk() const { return min_chunk_; }

 private:
  Result<void> move_to(wire::HttpResponse const& response);
  Result<Sent> judge(Result<Response> response, std::optional<Error> const& source_error, int expected,
                     oci::Digest const* digest);
  wire::Url finish_url(oci::Digest const& digest) const;
  Request request(std::string method) const;

  Session& session_;
  Visit& visit_;
  Repository const& repository_;
  std::optional<wire::Url> location_;
  std::uint64_t min_chunk_ = 0;
};

}  // namespace davit::registry
