#include "wire/system_trust.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdlib>

#include "base/result.h"

namespace davit::wire {

namespace {

char const* bundle_path() {
  char const* const chosen = std::getenv(X509_get_default_cert_file_env());
  return chosen != nullptr ? chosen : X509_get_default_cert_file();
}

// What the store knows of that subject; the store keeps the reference.
bool find(X509_STORE* store, X509_LOOKUP_TYPE type, X509_NAME const* name, X509_OBJECT* found) {
  if (X509_STORE_lock(store) != 1) return false;
  X509_OBJECT const* const object = X509_OBJECT_retrieve_by_subject(X509_STORE_get0_objects(store), type, name);
  X509* const certificate = object == nullptr ? nullptr : X509_OBJECT_get0_X509(object);
  bool const set = certificate != nullptr && X509_OBJECT_set1_X509(found, certificate) == 1;
  // A lookup lends its result; X509_OBJECT_set1_X509 took a reference that nobody would drop.
  if (set) X509_free(certificate);
  X509_STORE_unlock(store);
  return set;
}

// X509_LOOKUP_get_by_subject_fn: asked for what is not in the store yet.
int load_and_find(X509_LOOKUP* lookup, X509_LOOKUP_TYPE type, X509_NAME const* name, X509_OBJECT* found) {
  if (type != X509_LU_X509 || X509_LOOKUP_get_method_data(lookup) != nullptr) return 0;
  X509_LOOKUP_set_method_data(lookup, lookup);  // any pointer: it was read
  ERR_set_mark();
  (void)X509_load_cert_file(lookup, bundle_path(), X509_FILETYPE_PEM);
  ERR_pop_to_mark();  // no such file: then the folder is all there is
  return find(X509_LOOKUP_get_store(lookup), type, name, found) ? 1 : 0;
}

X509_LOOKUP_METHOD* make_method() {
  X509_LOOKUP_METHOD* const method = X509_LOOKUP_meth_new("certificate bundle, read when needed");
  DAVIT_CHECK(method != nullptr);
  X509_LOOKUP_meth_set_get_by_subject(method, &load_and_find);
  return method;
}

}  // namespace

void trust_system(ssl_ctx_st* context) {
  // Every context keeps a pointer to it, so it lives as long as the process; nothing changes it after make_method.
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): OpenSSL's API takes no pointer to const
  static X509_LOOKUP_METHOD* const method = make_method();
  (void)SSL_CTX_set_default_verify_dir(context);
  DAVIT_CHECK(X509_STORE_add_lookup(SSL_CTX_get_cert_store(context), method) != nullptr);
}

}  // namespace davit::wire
