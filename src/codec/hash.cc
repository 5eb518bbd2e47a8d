#include "codec/hash.h"

#include <openssl/evp.h>

#include <array>

#include "base/text.h"

namespace davit::codec {

// The EVP calls fail for want of memory or a broken installation of the library only, so they are checked, not
// returned.
struct Hasher::Body {
  explicit Body(EVP_MD const* algorithm) : context(EVP_MD_CTX_new()) {
    DAVIT_CHECK(context != nullptr && EVP_DigestInit_ex(context, algorithm, nullptr) == 1);
  }
  Body(Body const&) = delete;
  Body& operator=(Body const&) = delete;
  ~Body() { EVP_MD_CTX_free(context); }

  EVP_MD_CTX* context;
};

Hasher::Hasher(HashAlgorithm algorithm)
    : body_(std::make_unique<Body>(algorithm == HashAlgorithm::kSha256 ? EVP_sha256() : EVP_sha512())) {}
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::update(std::string_view bytes) {
  DAVIT_CHECK(EVP_DigestUpdate(body_->context, bytes.data(), bytes.size()) == 1);
}

std::string Hasher::finish_hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  DAVIT_CHECK(EVP_DigestFinal_ex(body_->context, digest.data(), &size) == 1);
  return hex({reinterpret_cast<char const*>(digest.data()), size});
}

std::string sha256_hex(std::string_view bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.finish_hex();
}

Result<std::string_view> HashingSource::next() {
  std::string_view const bytes = TRY(inner_.next());
  hasher_.update(bytes);
  size_ += bytes.size();
  return bytes;
}

Result<void> HashingSink::write(std::string_view bytes) {
  hasher_.update(bytes);
  size_ += bytes.size();
  return inner_.write(bytes);
}

}  // namespace davit::codec
