// ImageRef: the name of an image as Docker reads it ("distribution reference" grammar and Docker's normalisation):
// "nginx" is docker.io/library/nginx, "localhost:5000/a/b:v1@sha256:..." has all parts. Any thread.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/digest.h"

namespace davit::oci {

class ImageRef {
 public:
  // What a user typed. kInvalidArgument with Docker's reasons, worded for a person (upper case, empty, a bare 64-hex
  // id, a tag that is too long, a URL scheme in front, ...).
  static Result<ImageRef> parse(std::string_view text);

  std::string const& domain() const { return domain_; }  // "docker.io", "localhost:5000"
  std::string const& path() const { return path_; }      // "library/nginx"
  std::string const& tag() const { return tag_; }        // "" when none was given
  std::optional<Digest> const& digest() const { return digest_; }

  std::string name() const { return domain_ + "/" + path_; }  // "docker.io/library/nginx"
  std::string familiar_name() const;  // "nginx", "localhost:5000/a/b": what `docker images` shows as REPOSITORY
  // familiar_name, then ":tag" and "@digest" where present.
  std::string familiar() const;
  std::string to_string() const;  // name, ":tag", "@digest"

  // With "latest" when it has neither tag nor digest.
  ImageRef with_default_tag() const;
  ImageRef with_tag(std::string_view tag) const;  // tag: valid
  ImageRef with_digest(Digest digest) const;
  ImageRef without_digest() const;
  auto operator<=>(ImageRef const&) const = default;

 private:
  ImageRef() = default;
  std::string domain_, path_, tag_;
  std::optional<Digest> digest_;
};

// A tag alone ("v1.2"): [A-Za-z0-9_][A-Za-z0-9._-]{0,127}
bool is_valid_tag(std::string_view tag);

// What a user may mean by a word that names an image: a name, or the start of an id ("sha256:ab12", "ab12", 64 hex).
// Docker's rule: anything that is 64 hex digits is an id, never a name; a shorter hex word is a name first, then an id
// prefix.
struct ImageQuery {
  std::optional<ImageRef> reference;
  std::string id_prefix;  // lower-case hex, "" when the word cannot be an id
};
Result<ImageQuery> parse_image_query(std::string_view text);

}  // namespace davit::oci
