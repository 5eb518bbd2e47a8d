#include "registry/auth_challenge.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace davit::registry {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// token of RFC 9110 section 5.6.2
bool is_token_char(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos && c != '\0';
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  void skip_spaces() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  void skip_separators() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == ',')) rest_.remove_prefix(1);
  }
  bool at_end() const { return rest_.empty(); }
  bool take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view token() {
    std::size_t size = 0;
    while (size < rest_.size() && is_token_char(rest_[size])) ++size;
    std::string_view const result = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return result;
  }
  // After '=': a quoted string, or what stands up to a space or comma. Servers send URLs without quotes.
  std::optional<std::string> value() {
    if (!take('"')) {
      std::size_t const end = std::min(rest_.find_first_of(" \t,\""), rest_.size());
      std::string result(rest_.substr(0, end));
      rest_.remove_prefix(end);
      return result;
    }
    std::string result;
    while (!rest_.empty()) {
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '"') return result;
      if (c == '\\') {
        if (rest_.empty()) return std::nullopt;
        c = rest_[0];
        rest_.remove_prefix(1);
      }
      result += c;
    }
    return std::nullopt;  // no closing quote
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string Challenge::parameter(std::string const& name) const {
  auto const found = parameters.find(name);
  return found == parameters.end() ? std::string() : found->second;
}

std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> result;
  Scanner scanner(header);
  for (;;) {
    scanner.skip_separators();
    if (scanner.at_end()) return result;
    std::string_view const word = scanner.token();
    if (word.empty()) return result;
    scanner.skip_spaces();
    if (!scanner.take('=')) {  // no parameter's name, so a new scheme
      result.push_back({lower(word), {}});
      continue;
    }
    if (result.empty()) return result;  // a parameter of nothing
    scanner.skip_spaces();
    auto value = scanner.value();
    if (!value) return result;
    result.back().parameters.emplace(lower(word), *std::move(value));
  }
}

Scopes& Scopes::add(std::string_view text) {
  for (std::string_view const scope : split(text, ' ')) {
    std::size_t const last = scope.rfind(':');
    if (last == std::string_view::npos || scope.find(':') == last) continue;
    auto& actions = actions_[std::string(scope.substr(0, last))];
    for (std::string_view const action : split(scope.substr(last + 1), ',')) {
      if (!action.empty()) actions.emplace_back(action);
    }
    std::ranges::sort(actions);
    actions.erase(std::unique(actions.begin(), actions.end()), actions.end());
  }
  return *this;
}

Scopes Scopes::merged(Scopes const& other) const {
  Scopes result = *this;
  result.add(other.text());
  return result;
}

std::vector<std::string> Scopes::list() const {
  std::vector<std::string> result;
  for (auto const& [resource, actions] : actions_) {
    std::string scope = resource + ":";
    for (std::size_t i = 0; i < actions.size(); ++i) scope += (i > 0 ? "," : "") + actions[i];
    result.push_back(std::move(scope));
  }
  return result;
}

std::string Scopes::text() const {
  std::string result;
  for (std::string const& scope : list()) result += (result.empty() ? "" : " ") + scope;
  return result;
}

}  // namespace davit::registry
