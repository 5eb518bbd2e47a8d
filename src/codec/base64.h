// Base64 (RFC 4648): standard and URL alphabet. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::codec {

std::string base64_encode(std::string_view bytes);
std::string base64url_encode(std::string_view bytes);  // with padding, as Go's URLEncoding
// Either alphabet, padding optional; kInvalidArgument for anything else.
Result<std::string> base64_decode(std::string_view text);

}  // namespace davit::codec
