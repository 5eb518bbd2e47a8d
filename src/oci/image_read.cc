#include "oci/image_read.h"

namespace davit::oci {

Result<Digest> read_digest(json::Field const& field) {
  TRY(field.expect_present());
  std::string_view const text = TRY(field.string_view());
  Result<Digest> digest = Digest::parse(text);
  if (!digest.ok()) return field.error(digest.error().message());
  return digest;
}

Result<void> read_platform(json::Field const& object, Platform& out) {
  TRY(object.expect_object());
  TRY(json::read(object["os"], out.os));
  TRY(json::read(object["architecture"], out.architecture));
  TRY(json::read(object["variant"], out.variant));
  TRY(json::read(object["os.version"], out.os_version));
  return json::read(object["os.features"], out.os_features);
}

}  // namespace davit::oci
