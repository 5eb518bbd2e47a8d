#include "wire/tls_failure.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace davit::wire {

namespace {

constexpr int kMostNames = 8;

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

std::string text_of(ASN1_STRING const* string) {
  return {reinterpret_cast<char const*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

// A certificate's text is the peer's: no control characters into an error.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return text;
}

std::string address_text(std::string const& bytes) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (bytes.size() == 4 || bytes.size() == 16) {
    ::inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  }
  return text;
}

std::string reason_of(unsigned long code) {
  char const* const reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown error";
}

std::string insecure_advice(TlsPeer const& peer) { return "name " + peer.authority + " in insecure-registries"; }

Error refused(std::string const& message) { return Error(Errc::kPermissionDenied, message); }

Error not_trusted(Rejected const& rejected, TlsPeer const& peer) {
  std::string const own = "the certificate of " + peer.authority;
  std::string const which = rejected.is_own ? own : "a certificate in the chain of " + peer.authority;
  switch (rejected.verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return refused(own + " is not for " + peer.host + " but for " +
                     (rejected.names.empty() ? "no name at all" : rejected.names) + ": use one of its names, or " +
                     insecure_advice(peer));
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return refused(which + " expired on " + rejected.until + ": renew it, or check this machine's clock");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return refused(which + " is not valid yet: check this machine's clock");
    default:
      return refused(own + " is not trusted (" + X509_verify_cert_error_string(rejected.verdict) +
                     "): put its CA's certificate in /etc/docker/certs.d/" + peer.authority + "/ca.crt, or " +
                     insecure_advice(peer));
  }
}

// Alerts by which a server says that it wants another client certificate, or one at all.
bool about_client_certificate(unsigned long code) {
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return false;
  switch (ERR_GET_REASON(code)) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return true;
    default:
      return false;
  }
}

Error client_refused(unsigned long code, TlsPeer const& peer) {
  return refused(peer.authority + " refused this client (" + reason_of(code) +
                 "): it may want a client certificate: put client.cert and client.key in /etc/docker/certs.d/" +
                 peer.authority + "/");
}

}  // namespace

std::string certificate_names(x509_st const* certificate) {
  std::unique_ptr<GENERAL_NAMES, FreeNames> const names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string text;
  int const count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
  for (int i = 0; i < count; ++i) {
    GENERAL_NAME const* const name = sk_GENERAL_NAME_value(names.get(), i);
    std::string one;
    if (name->type == GEN_DNS) one = printable(text_of(name->d.dNSName));
    if (name->type == GEN_IPADD) one = address_text(text_of(name->d.iPAddress));
    if (one.empty()) continue;
    if (!text.empty()) text += ", ";
    if (i >= kMostNames) return text + "...";
    text += one;
  }
  return text;
}

std::string certificate_end(x509_st const* certificate) {
  std::unique_ptr<BIO, FreeBio> const out(BIO_new(BIO_s_mem()));
  if (out == nullptr || ASN1_TIME_print(out.get(), X509_get0_notAfter(certificate)) != 1) return "?";
  char* data = nullptr;
  long const size = BIO_ctrl(out.get(), BIO_CTRL_INFO, 0, &data);
  return {data, static_cast<std::size_t>(size)};
}

Error handshake_failure(TlsPeer const& peer, Rejected const& rejected, std::string_view first_bytes) {
  if (first_bytes.starts_with("HTTP/")) {
    return refused("server gave HTTP response to HTTPS client: " + peer.authority + " speaks plain HTTP; " +
                   insecure_advice(peer) + " to use it without encryption");
  }
  unsigned long const code = ERR_peek_last_error();
  bool const our_refusal = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  if (our_refusal && rejected.verdict != X509_V_OK) return not_trusted(rejected, peer);
  if (about_client_certificate(code)) return client_refused(code, peer);
  if (code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return Error(Errc::kUnavailable, "TLS handshake with " + peer.authority + ": the connection ended");
  }
  return refused("TLS handshake with " + peer.authority + ": " + reason_of(code));
}

Error stream_failure(TlsPeer const& peer) {
  unsigned long const code = ERR_peek_last_error();
  if (about_client_certificate(code)) return client_refused(code, peer);
  if (code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return Error(Errc::kUnavailable, "the connection ended in the middle of the TLS stream");
  }
  return Error(Errc::kUnavailable, "TLS: " + reason_of(code));
}

}  // namespace davit::wire
