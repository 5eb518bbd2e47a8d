// The machine's certificate authorities. Internal to wire.
#pragma once

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace davit::wire {

// Trusts what OpenSSL trusts by default: a folder of certificates by hash, and one file (SSL_CERT_DIR and
// SSL_CERT_FILE, or the distribution's own). Reading that file takes 10 ms and more, which every connection would pay;
// so it is read only when a certificate's issuer is neither in the folder nor among the CAs given before.
void trust_system(ssl_ctx_st* context);

}  // namespace davit::wire
