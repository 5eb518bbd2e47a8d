// What a registry says before it is trusted: WWW-Authenticate, token answers, error bodies, Content-Range, Retry-After
// (registry/).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "registry/auth_challenge.h"
#include "registry/blob_source.h"
#include "registry/failure.h"
#include "registry/retry.h"
#include "registry/token_server.h"

namespace {

using namespace davit;
using namespace davit::registry;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_challenges(std::string_view text) {
  for (Challenge const& challenge : parse_challenges(text)) {
    require(!challenge.scheme.empty());
    for (auto const& [name, value] : challenge.parameters) require(!name.empty() && value.size() <= text.size());
  }
}

// Adding what is there changes nothing, and the text of a set means the set.
void check_scopes(std::string_view text) {
  Scopes scopes;
  scopes.add(text);
  require(scopes.merged(scopes) == scopes);
  require(Scopes().add(scopes.text()) == scopes);
}

void check_answers(std::string_view text) {
  if (auto const answer = parse_token_answer(text); answer.ok()) {
    require(!answer->token.token.empty() && answer->token.lifetime.count() >= 0);
    for (char const c : answer->token.token) require(c != '\r' && c != '\n');
  }
  std::string code;
  for (char const c : explain_body(text, code)) require(static_cast<unsigned char>(c) >= 0x20);
  if (auto const range = ContentRange::parse(text); range.ok()) {
    require(range->first <= range->last && (!range->total || range->last < *range->total));
  }
  if (auto const delay = parse_retry_after(text, 784111777)) require(delay->count() >= 0 && *delay <= kMaxWait);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  check_challenges(text);
  check_scopes(text);
  check_answers(text);
  return 0;
}
