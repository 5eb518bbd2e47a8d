#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "wire/system_trust.h"
#include "wire/tls.h"

namespace davit::wire {

namespace {

// Larger than one record's 16 KiB, so that one recv brings several; given back while the connection is idle.
constexpr std::size_t kReadAhead = 128 * 1024;

Error unusable(std::string const& what, std::string const& path) {
  unsigned long const code = ERR_peek_last_error();
  char const* const reason = ERR_reason_error_string(code);
  std::string text = what + " '" + path + "': ";
  if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
    text += "not a PEM file";
  } else {
    text += reason != nullptr ? reason : "cannot be read";
  }
  ERR_clear_error();
  return Error(Errc::kInvalidArgument, text);
}

// Instead of OpenSSL's own, which would ask at the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

Result<void> trust(SSL_CTX* context, TlsOptions const& options) {
  if (!options.verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    return {};
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  trust_system(context);
  for (std::string const& path : options.ca_files) {
    if (SSL_CTX_load_verify_file(context, path.c_str()) != 1) return unusable("CA file", path);
  }
  X509_VERIFY_PARAM* const checks = SSL_CTX_get0_param(context);
  // As Go does, for which people write their ca.crt: any certificate named there is trusted, an intermediate one too,
  // and only subjectAltName counts for the name.
  X509_VERIFY_PARAM_set_flags(checks, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return {};
}

Result<void> identify(SSL_CTX* context, TlsOptions const& options) {
  if (options.client_certificates.empty()) return {};
  auto const& [certificate, key] = options.client_certificates.front();
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return unusable("client certificate", certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) return unusable("client key", key);
  if (SSL_CTX_check_private_key(context) != 1) return unusable("the client certificate does not belong to key", key);
  return {};
}

}  // namespace

void FreeTlsContext::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

Result<TlsContext> tls_context(TlsOptions const& options) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(TLS_client_method()));
  DAVIT_CHECK(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_default_read_buffer_len(context.get(), kReadAhead);
  SSL_CTX_set_default_passwd_cb(context.get(), no_passphrase);
  // A server that also speaks HTTP/2 must not choose it.
  unsigned char const protocols[] = "\x08http/1.1";
  DAVIT_CHECK(SSL_CTX_set_alpn_protos(context.get(), protocols, sizeof protocols - 1) == 0);
  TRY(trust(context.get(), options));
  TRY(identify(context.get(), options));
  return context;
}

}  // namespace davit::wire
