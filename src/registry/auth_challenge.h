// WWW-Authenticate (RFC 9110 section 11.6.1) as registries send it. Any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::registry {

struct Challenge {
  std::string scheme;                             // lower case: "bearer", "basic"
  std::map<std::string, std::string> parameters;  // names in lower case; the first of two equal ones counts

  // "" when absent.
  std::string parameter(std::string const& name) const;
};

// All challenges of one header's value. What cannot be read ends the list there: a server's odd extra challenge must
// not hide one that is understood.
std::vector<Challenge> parse_challenges(std::string_view header);

// A set of "type:name:actions", one entry per type and name, actions merged. As a token request needs it.
class Scopes {
 public:
  Scopes() = default;
  static Scopes pull(std::string_view path) { return Scopes().add("repository:" + std::string(path) + ":pull"); }
  static Scopes push(std::string_view path) { return Scopes().add("repository:" + std::string(path) + ":pull,push"); }
  static Scopes remove(std::string_view path) {
    return Scopes().add("repository:" + std::string(path) + ":delete,pull");
  }

  // text: one scope or several with spaces between; what is not TYPE:NAME:ACTIONS is left out.
  Scopes& add(std::string_view text);
  Scopes merged(Scopes const& other) const;
  bool empty() const { return actions_.empty(); }
  std::vector<std::string> list() const;  // sorted
  std::string text() const;               // with spaces between
  bool operator==(Scopes const&) const = default;

 private:
  std::map<std::string, std::vector<std::string>> actions_;  // "type:name" to its sorted actions
};

}  // namespace davit::registry
