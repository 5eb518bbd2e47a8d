// TLS 1.2 and 1.3 to a server, over another transport. Internal to wire.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "wire/http_client.h"
#include "wire/transport.h"
#include "wire/wait.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace davit::wire {

// Whom to expect at the other end.
struct TlsPeer {
  std::string host;       // a name or an address in text: what the certificate must be for
  std::string authority;  // "host:port" as users write it: the folder's name in certs.d, and in errors
};

// Shakes hands. kPermissionDenied with what to do about it: not trusted, wrong name, expired, a client certificate is
// wanted, the server speaks plain HTTP. kInvalidArgument: a file of the options cannot be used.
Result<std::unique_ptr<Transport>> tls_transport(std::unique_ptr<Transport> lower, TlsPeer const& peer,
                                                 TlsOptions const& options, Waiter& waiter, Deadline deadline);

struct FreeTlsContext {
  void operator()(ssl_ctx_st* context) const;
};
using TlsContext = std::unique_ptr<ssl_ctx_st, FreeTlsContext>;
// Reads the files that the options name.
Result<TlsContext> tls_context(TlsOptions const& options);

}  // namespace davit::wire
