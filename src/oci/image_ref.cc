#include "oci/image_ref.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace davit::oci {

namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kLegacyDefaultDomain = "index.docker.io";
constexpr std::string_view kOfficialPrefix = "library/";
constexpr std::size_t kMaxPath = 255;
constexpr std::size_t kMaxTag = 128;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower_or_digit(char c) { return is_lower(c) || is_digit(c); }
bool is_alphanumeric(char c) { return is_lower_or_digit(c) || is_upper(c); }
bool is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
bool is_hex(char c) { return is_lower_hex(c) || (c >= 'A' && c <= 'F'); }
bool is_tag_character(char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; }

// Of outside text, for an error message: no control characters, no more than a line.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 300));
  for (char& c : out) {
    if (c >= 0 && c < ' ') c = '?';
  }
  return text.size() > 300 ? out + "..." : out;
}

Error invalid(std::string_view why) {
  return Error(Errc::kInvalidArgument, fmt::format("invalid reference format: {}", why));
}

std::string character_name(char c) {
  if (c > ' ' && c <= '~') return fmt::format("'{}'", c);
  if (c == ' ') return "a space";
  return c >= 0 ? fmt::format("the control character {}", static_cast<int>(c)) : "a character that is not ASCII";
}

// domain-component of the grammar, and components between dots: letters, digits and inner hyphens.
bool is_domain_name(std::string_view name) {
  for (std::string_view const part : split(name, '.')) {
    if (part.empty() || !is_alphanumeric(part.front()) || !is_alphanumeric(part.back())) return false;
    if (!std::ranges::all_of(part, [](char c) { return is_alphanumeric(c) || c == '-'; })) return false;
  }
  return true;
}

// "[::1]": only hex digits and colons, so no zone.
bool is_bracketed_ipv6(std::string_view host) {
  if (host.size() < 3 || host.front() != '[' || host.back() != ']') return false;
  return std::ranges::all_of(host.substr(1, host.size() - 2), [](char c) { return is_hex(c) || c == ':'; });
}

Result<void> check_domain(std::string_view domain) {
  std::string_view host = domain;
  std::size_t const bracket = domain.rfind(']');
  std::size_t const colon = domain.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    host = domain.substr(0, colon);
    std::string_view const port = domain.substr(colon + 1);
    if (port.empty() || !std::ranges::all_of(port, is_digit)) {
      return invalid(fmt::format("\"{}\" is not a port number, in \"{}\"", shown(port), shown(domain)));
    }
  }
  if (is_domain_name(host) || is_bracketed_ipv6(host)) return {};
  return invalid(fmt::format("\"{}\" is not the name of a registry's host", shown(host)));
}

// Why text is not a path-component; "" when it is one. Separators within: one dot, one or two underscores, hyphens.
std::string component_problem(std::string_view text) {
  if (text.empty()) return "a part between two slashes is empty";
  for (char const c : text) {
    if (!is_lower_or_digit(c) && c != '.' && c != '_' && c != '-') {
      return fmt::format("{} may not be in a repository name", character_name(c));
    }
  }
  if (!is_lower_or_digit(text.front()) || !is_lower_or_digit(text.back())) {
    return fmt::format("\"{}\" must begin and end with a letter or digit", shown(text));
  }
  for (std::size_t i = 0; i < text.size();) {
    if (is_lower_or_digit(text[i])) {
      ++i;
      continue;
    }
    std::size_t const start = i;
    while (!is_lower_or_digit(text[i])) ++i;
    std::string_view const separator = text.substr(start, i - start);
    bool const hyphens = separator.find_first_not_of('-') == std::string_view::npos;
    if (!hyphens && separator != "." && separator != "_" && separator != "__") {
      return fmt::format("\"{}\" may not separate words of a repository name", separator.substr(0, 10));
    }
  }
  return {};
}

Result<void> check_path(std::string_view path) {
  for (std::string_view const component : split(path, '/')) {
    std::string const problem = component_problem(component);
    if (!problem.empty()) return invalid(problem);
  }
  if (path.size() > kMaxPath) {
    return Error(Errc::kInvalidArgument, fmt::format("repository name must not be more than {} characters", kMaxPath));
  }
  return {};
}

Result<void> check_tag(std::string_view tag) {
  if (is_valid_tag(tag)) return {};
  if (tag.empty()) return invalid("the tag after ':' is empty");
  if (tag.size() > kMaxTag) return invalid(fmt::format("the tag is longer than {} characters", kMaxTag));
  if (tag.front() == '.' || tag.front() == '-') return invalid("a tag must not begin with '.' or '-'");
  auto const wrong = std::ranges::find_if_not(tag, is_tag_character);
  return invalid(fmt::format("{} may not be in a tag", character_name(*wrong)));
}

struct Parts {
  std::string domain, rest;
};

// The first component is a registry when it cannot be a part of a repository's name on the default one.
bool looks_like_domain(std::string_view component) {
  return component == "localhost" || component.find_first_of(".:") != std::string_view::npos ||
         std::ranges::any_of(component, is_upper);
}

Parts split_domain(std::string_view text) {
  std::size_t const slash = text.find('/');
  Parts parts{std::string(kDefaultDomain), std::string(text)};
  if (slash != std::string_view::npos && looks_like_domain(text.substr(0, slash))) {
    parts.domain = text.substr(0, slash);
    parts.rest = text.substr(slash + 1);
    if (parts.domain == kLegacyDefaultDomain) parts.domain = kDefaultDomain;
  }
  if (parts.domain == kDefaultDomain && parts.rest.find('/') == std::string::npos) {
    parts.rest.insert(0, kOfficialPrefix);
  }
  return parts;
}

bool is_full_id(std::string_view text) { return text.size() == 64 && std::ranges::all_of(text, is_lower_hex); }

// What can be told from the whole text, before it is taken apart.
Result<void> check_whole(std::string_view text) {
  if (text.empty()) return invalid("the name is empty");
  std::size_t const scheme = text.find("://");
  if (scheme != std::string_view::npos) {
    return invalid(fmt::format("leave out \"{}://\"", shown(text.substr(0, scheme))));
  }
  if (text.front() == '/') return invalid("the name begins with a slash");
  if (is_full_id(text)) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("invalid repository name ({}), cannot specify 64-byte hexadecimal strings", text));
  }
  return {};
}

}  // namespace

bool is_valid_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTag && tag.front() != '.' && tag.front() != '-' &&
         std::ranges::all_of(tag, is_tag_character);
}

Result<ImageRef> ImageRef::parse(std::string_view text) {
  TRY(check_whole(text));
  Parts parts = split_domain(text);
  std::string_view const rest = parts.rest;
  std::size_t const at = rest.find('@');
  std::string_view const before_digest = rest.substr(0, at);
  std::size_t const colon = before_digest.find(':');
  std::string_view const path = before_digest.substr(0, colon);
  if (std::ranges::any_of(path, is_upper)) {
    return invalid(fmt::format("repository name ({}) must be lowercase", shown(path)));
  }
  TRY(check_domain(parts.domain));
  ImageRef ref;
  if (colon != std::string_view::npos) {
    TRY(check_tag(before_digest.substr(colon + 1)));
    ref.tag_ = before_digest.substr(colon + 1);
  }
  if (at != std::string_view::npos) ref.digest_ = TRY(Digest::parse(rest.substr(at + 1)));
  TRY(check_path(path));
  ref.path_ = path;
  ref.domain_ = std::move(parts.domain);
  return ref;
}

std::string ImageRef::familiar_name() const {
  if (domain_ != kDefaultDomain) return name();
  std::string_view rest = path_;
  if (rest.starts_with(kOfficialPrefix) && rest.find('/', kOfficialPrefix.size()) == std::string_view::npos) {
    rest.remove_prefix(kOfficialPrefix.size());
  }
  // The short form of docker.io/localhost/x or docker.io/library/<64 hex> would be read as something else.
  std::size_t const slash = rest.find('/');
  bool const misread = slash == std::string_view::npos ? is_full_id(rest) : looks_like_domain(rest.substr(0, slash));
  return misread ? name() : std::string(rest);
}

static std::string with_tag_and_digest(std::string name, std::string_view tag, std::optional<Digest> const& digest) {
  if (!tag.empty()) name.append(":").append(tag);
  if (digest) name.append("@").append(digest->text());
  return name;
}

std::string ImageRef::familiar() const { return with_tag_and_digest(familiar_name(), tag_, digest_); }

std::string ImageRef::to_string() const { return with_tag_and_digest(name(), tag_, digest_); }

ImageRef ImageRef::with_default_tag() const { return tag_.empty() && !digest_ ? with_tag("latest") : *this; }

ImageRef ImageRef::with_tag(std::string_view tag) const {
  DAVIT_CHECK(is_valid_tag(tag));
  ImageRef copy = *this;
  copy.tag_ = tag;
  return copy;
}

ImageRef ImageRef::with_digest(Digest digest) const {
  ImageRef copy = *this;
  copy.digest_ = std::move(digest);
  return copy;
}

ImageRef ImageRef::without_digest() const {
  ImageRef copy = *this;
  copy.digest_.reset();
  return copy;
}

Result<ImageQuery> parse_image_query(std::string_view text) {
  ImageQuery query;
  std::string_view digits = text;
  if (digits.starts_with("sha256:")) digits.remove_prefix(7);
  if (!digits.empty() && digits.size() <= 64 && std::ranges::all_of(digits, is_lower_hex)) query.id_prefix = digits;
  if (is_full_id(query.id_prefix)) return query;
  Result<ImageRef> reference = ImageRef::parse(text);
  if (reference.ok()) {
    query.reference = std::move(*reference);
  } else if (query.id_prefix.empty()) {
    return std::move(reference).take_error();
  }
  return query;
}

}  // namespace davit::oci
