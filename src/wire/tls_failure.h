// What to tell a user about a TLS connection that failed. Internal to wire.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/tls.h"

struct x509_st;  // OpenSSL's X509

namespace davit::wire {

// The certificate of the peer's chain that was refused.
struct Rejected {
  int verdict = 0;      // X509_V_ERR_*; 0: none was refused
  std::string names;    // certificate_names
  std::string until;    // certificate_end
  bool is_own = false;  // the peer's own, not an issuer's
};

// Of a handshake that failed, from OpenSSL's error queue. first_bytes: the beginning of what the server sent.
Error handshake_failure(TlsPeer const& peer, Rejected const& rejected, std::string_view first_bytes);
// Of reading or writing afterwards, from OpenSSL's error queue.
Error stream_failure(TlsPeer const& peer);
// The names and addresses a certificate is for: "a.example, 10.0.0.1".
std::string certificate_names(x509_st const* certificate);
// When it ends, as text.
std::string certificate_end(x509_st const* certificate);

}  // namespace davit::wire
