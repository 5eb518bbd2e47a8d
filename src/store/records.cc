#include "store/records.h"

#include <fmt/format.h>

#include "base/text.h"
#include "store/store_body.h"

namespace davit::store {

std::string layer_id(oci::Digest const& diff_id) { return std::string(diff_id.hex()); }
std::string chained_layer_id(oci::Digest const& chain_id) { return fmt::format("chain-{}", chain_id.hex()); }

std::string layer_pin(std::string const& id) { return "layer " + id; }
std::string blob_pin(oci::Digest const& digest) { return "blob " + digest.text(); }

std::string join(std::vector<std::string> const& parts) { return fmt::format("{}", fmt::join(parts, " ")); }

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  if (text.empty()) return words;
  for (std::string_view const word : split(text, ' ')) words.emplace_back(word);
  return words;
}

std::string join_digests(std::vector<oci::Digest> const& digests) {
  std::vector<std::string> texts;
  for (oci::Digest const& digest : digests) texts.push_back(digest.text());
  return join(texts);
}

Result<oci::Digest> stored_digest(std::string_view text) {
  Result<oci::Digest> digest = oci::Digest::parse(text);
  if (!digest) return Error(Errc::kInternal, fmt::format("state.db holds a damaged digest '{}'", text));
  return digest;
}

Result<std::vector<oci::Digest>> stored_digests(std::string_view text) {
  std::vector<oci::Digest> digests;
  for (std::string const& word : split_words(text)) {
    oci::Digest digest = TRY(stored_digest(word));
    digests.push_back(std::move(digest));
  }
  return digests;
}

}  // namespace davit::store
