// Certificates and the TLS side of HttpServer. Tests only; needs ssl and crypto, which davit_wire brings.
//
//   TestCa ca;
//   Identity server_identity = ca.issue({.names = {"127.0.0.1"}});
//   HttpServer server(handler, tls_server(server_identity));
//   request.tls.ca_files = {file with ca.certificate_pem()};
#pragma once

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/testing/http_server.h"

namespace davit::wire::testing {

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

struct Identity {
  Key key;
  Certificate certificate;

  std::string certificate_pem() const {
    return pem([this](BIO* out) { PEM_write_bio_X509(out, certificate.get()); });
  }
  std::string key_pem() const {
    return pem([this](BIO* out) { PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }

 private:
  template <typename Write>
  static std::string pem(Write write) {
    std::unique_ptr<BIO, decltype(&BIO_free)> const out(BIO_new(BIO_s_mem()), &BIO_free);
    write(out.get());
    char* data = nullptr;
    long const size = BIO_get_mem_data(out.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
};

struct IssueOptions {
  std::vector<std::string> names{};  // subjectAltName: addresses in text, else DNS names
  long valid_from = -3600;           // seconds from now
  long valid_to = 3600;
};

class TestCa {
 public:
  TestCa() : identity_(make({}, nullptr)) {}

  std::string certificate_pem() const { return identity_.certificate_pem(); }
  X509* certificate() const { return identity_.certificate.get(); }
  Identity issue(IssueOptions const& options) const { return make(options, &identity_); }

 private:
  static void extend(X509* certificate, X509* issuer, int kind, std::string const& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    DAVIT_CHECK(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  static Identity make(IssueOptions const& options, Identity const* issuer) {
    Identity made{Key(EVP_EC_gen("P-256"), &EVP_PKEY_free), Certificate(X509_new(), &X509_free)};
    X509* const certificate = made.certificate.get();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), issuer == nullptr ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(certificate), options.valid_from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), options.valid_to);
    X509_set_pubkey(certificate, made.key.get());
    std::string const subject = issuer == nullptr ? "Test CA" : "Test leaf";
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<unsigned char const*>(subject.c_str()), -1, -1, 0);
    X509* const signer = issuer == nullptr ? certificate : issuer->certificate.get();
    X509_set_issuer_name(certificate, X509_get_subject_name(signer));
    if (issuer == nullptr) {
      extend(certificate, signer, NID_basic_constraints, "critical,CA:TRUE");
      extend(certificate, signer, NID_subject_key_identifier, "hash");
    } else {
      // All test CAs have one name: the key says which of them.
      extend(certificate, signer, NID_authority_key_identifier, "keyid");
    }
    std::string names;
    for (std::string const& name : options.names) {
      bool const address = name.find_first_not_of("0123456789.:abcdef") == std::string::npos;
      names += (names.empty() ? "" : ",") + std::string(address ? "IP:" : "DNS:") + name;
    }
    if (!names.empty()) extend(certificate, signer, NID_subject_alt_name, names);
    X509_sign(certificate, (issuer == nullptr ? made.key : issuer->key).get(), EVP_sha256());
    return made;
  }

  Identity identity_;
};

class TlsChannel : public Channel {
 public:
  explicit TlsChannel(SSL* ssl) : ssl_(ssl, &SSL_free) {}
  ~TlsChannel() override { SSL_shutdown(ssl_.get()); }
  std::size_t read(char* out, std::size_t size) override {
    std::size_t done = 0;
    return SSL_read_ex(ssl_.get(), out, size, &done) == 1 ? done : 0;
  }
  bool write(std::string_view bytes) override {
    std::size_t done = 0;
    return bytes.empty() || SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &done) == 1;
  }

 private:
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

// client_ca: a client certificate of that CA is demanded.
inline Secure tls_server(Identity const& identity, TestCa const* client_ca = nullptr) {
  std::shared_ptr<SSL_CTX> const context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  SSL_CTX_use_certificate(context.get(), identity.certificate.get());
  SSL_CTX_use_PrivateKey(context.get(), identity.key.get());
  if (client_ca != nullptr) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), client_ca->certificate());
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return [context](int socket) -> std::unique_ptr<Channel> {
    // OpenSSL writes to the socket without MSG_NOSIGNAL, and a client of a test may be gone.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    SSL* const ssl = SSL_new(context.get());
    SSL_set_fd(ssl, socket);
    auto channel = std::make_unique<TlsChannel>(ssl);
    if (SSL_accept(ssl) != 1) return nullptr;
    return channel;
  };
}

}  // namespace davit::wire::testing
