// URLs and Location headers of others (wire/url.h): what is accepted is canonical and carries no control characters.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wire/proxy.h"
#include "wire/url.h"

namespace {

using namespace davit;
using namespace davit::wire;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(Url const& url) {
  std::string const text = url.to_string();
  for (char const c : text) require(static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f);
  require(url.target.starts_with('/') && url.port != 0 && !url.host.empty());
  Result<Url> const again = Url::parse(text);
  require(again.ok() && again->same_origin(url) && again->target == url.target && again->user.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  if (Result<Url> const url = Url::parse(text)) check(*url);
  static Url const base = Url::parse("https://u:p@registry.example:5000/v2/a/b?c=d").value();
  if (Result<Url> const url = base.resolve(text)) {
    check(*url);
    require(url->same_origin(base) || url->user != base.user || text.find("//") != std::string_view::npos);
  }
  std::size_t const cut = text.find('\n');
  if (cut != std::string_view::npos) (void)matches_no_proxy(text.substr(cut + 1), text.substr(0, cut), 443);
  (void)proxy_for({.http = std::string(text), .https = "", .no_proxy = std::string(text)}, base).ok();
  return 0;
}
