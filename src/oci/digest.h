// Digest: the name of content, "sha256:<64 hex>" (OCI image spec, descriptor.md#digests). parse is the only way to get
// one from outside, so holding one proves that it is well formed and safe as a file name. Any thread.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::oci {

class Digest {
 public:
  // sha256 (64 hex) and sha512 (128 hex), lower case; kInvalidArgument for anything else, saying what is wrong.
  static Result<Digest> parse(std::string_view text);
  // hex: 64 lower-case digits of a hasher of ours.
  static Digest sha256(std::string_view hex);

  std::string const& text() const { return text_; }                                    // "sha256:ab..."
  std::string_view algorithm() const { return std::string_view(text_).substr(0, 6); }  // "sha256" or "sha512"
  std::string_view hex() const { return std::string_view(text_).substr(7); }
  // "sha256:ab12..." as Docker shows it: the first 12 hex digits
  std::string_view short_hex() const { return hex().substr(0, 12); }
  auto operator<=>(Digest const&) const = default;

 private:
  explicit Digest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace davit::oci

template <>
struct std::hash<davit::oci::Digest> {
  std::size_t operator()(davit::oci::Digest const& digest) const { return std::hash<std::string>()(digest.text()); }
};
