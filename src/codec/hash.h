// SHA-256 and SHA-512 (OpenSSL, which uses SHA-NI), and hashing of what flows through. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "codec/stream.h"

namespace davit::codec {

enum class HashAlgorithm : std::uint8_t { kSha256, kSha512 };

class Hasher {
 public:
  explicit Hasher(HashAlgorithm algorithm = HashAlgorithm::kSha256);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();
  void update(std::string_view bytes);
  // Lower-case hex of what came so far. Ends the hasher: nothing but destruction after it.
  std::string finish_hex();

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

std::string sha256_hex(std::string_view bytes);

// Passes a source on and hashes it. Borrows the inner source.
class HashingSource : public Source {
 public:
  explicit HashingSource(Source& inner, HashAlgorithm algorithm = HashAlgorithm::kSha256)
      : inner_(inner), hasher_(algorithm) {}
  Result<std::string_view> next() override;
  std::uint64_t size() const { return size_; }
  // Of what next() gave so far; once.
  std::string finish_hex() { return hasher_.finish_hex(); }

 private:
  Source& inner_;
  Hasher hasher_;
  std::uint64_t size_ = 0;
};

class HashingSink : public Sink {
 public:
  explicit HashingSink(Sink& inner, HashAlgorithm algorithm = HashAlgorithm::kSha256)
      : inner_(inner), hasher_(algorithm) {}
  Result<void> write(std::string_view bytes) override;
  std::uint64_t size() const { return size_; }
  std::string finish_hex() { return hasher_.finish_hex(); }

 private:
  Sink& inner_;
  Hasher hasher_;
  std::uint64_t size_ = 0;
};

}  // namespace davit::codec
