#include "image/change.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "codec/json.h"

namespace davit::image {
namespace {

struct Split {
  std::string keyword;  // upper case
  std::string_view rest;
};

Split split_keyword(std::string_view instruction) {
  std::string_view const text = trim(instruction);
  std::size_t const end = std::min(text.find_first_of(" \t"), text.size());
  std::string keyword(text.substr(0, end));
  std::transform(keyword.begin(), keyword.end(), keyword.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return {std::move(keyword), trim(text.substr(end))};
}

// ["a", "b"]: the exec form; anything else is not one.
std::optional<std::vector<std::string>> exec_form(std::string_view text) {
  if (!text.starts_with('[')) return std::nullopt;
  Result<json::Document> const document = json::Document::parse(text);
  if (!document) return std::nullopt;
  std::vector<std::string> words;
  json::Field const root = document->root();
  if (!json::read(root, words)) return std::nullopt;
  return words;
}

std::vector<std::string> command(std::string_view text) {
  if (auto words = exec_form(text)) return std::move(*words);
  return {"/bin/sh", "-c", std::string(text)};
}

// Words apart by blanks; quotes and backslashes as in a Dockerfile's ENV and LABEL.
Result<std::vector<std::string>> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char const c = text[i];
    if (quote == 0 && (c == ' ' || c == '\t')) {
      if (inside) words.push_back(std::move(word));
      word.clear();
      inside = false;
      continue;
    }
    inside = true;
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word += text[++i];
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else {
      word += c;
    }
  }
  if (quote != 0) return Error(Errc::kInvalidArgument, fmt::format("a quote is not closed in: {}", text));
  if (inside) words.push_back(std::move(word));
  return words;
}

// KEY=value ..., or the old form KEY value
Result<std::vector<std::pair<std::string, std::string>>> pairs_of(std::string_view keyword, std::string_view text) {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::size_t const first_blank = std::min(text.find_first_of(" \t"), text.size());
  if (text.substr(0, first_blank).find('=') == std::string_view::npos) {
    std::string_view const value = trim(text.substr(first_blank));
    if (value.empty()) return Error(Errc::kInvalidArgument, fmt::format("{} must have two arguments", keyword));
    pairs.emplace_back(text.substr(0, first_blank), value);
    return pairs;
  }
  std::vector<std::string> const words = TRY(words_of(text));
  for (std::string const& word : words) {
    auto const equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error(Errc::kInvalidArgument, fmt::format("{}: KEY=VALUE is expected, not '{}'", keyword, word));
    }
    pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return pairs;
}

void set_env(oci::ContainerConfig& config, std::string const& key, std::string const& value) {
  std::string const prefix = key + "=";
  for (std::string& entry : config.env) {
    if (!entry.starts_with(prefix)) continue;
    entry = prefix + value;
    return;
  }
  config.env.push_back(prefix + value);
}

void add_once(std::vector<std::string>& list, std::string item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(std::move(item));
}

Result<void> expose(oci::ContainerConfig& config, std::string_view text) {
  std::vector<std::string> const words = TRY(words_of(text));
  for (std::string const& word : words) {
    auto const slash = word.find('/');
    std::string const protocol = slash == std::string::npos ? "tcp" : word.substr(slash + 1);
    auto const port = parse_u64(word.substr(0, slash));
    if (!port || *port == 0 || *port > 65535 || (protocol != "tcp" && protocol != "udp" && protocol != "sctp")) {
      return Error(Errc::kInvalidArgument, fmt::format("EXPOSE: invalid port '{}'", word));
    }
    add_once(config.exposed_ports, fmt::format("{}/{}", *port, protocol));
  }
  return {};
}

Result<void> volumes(oci::ContainerConfig& config, std::string_view text) {
  std::vector<std::string> words;
  if (auto listed = exec_form(text)) {
    words = std::move(*listed);
  } else {
    words = TRY(words_of(text));
  }
  for (std::string& word : words) add_once(config.volumes, std::move(word));
  return {};
}

Result<void> healthcheck(oci::ContainerConfig& config, std::string_view text) {
  if (text != "NONE") return Error(Errc::kUnimplemented, "HEALTHCHECK: only NONE can be given as a change so far");
  config.healthcheck = oci::HealthCheck{.test = {"NONE"}};
  return {};
}

}  // namespace

Result<void> apply_change(oci::ContainerConfig& config, std::string_view instruction) {
  auto const [keyword, rest] = split_keyword(instruction);
  if (keyword.empty()) return Error(Errc::kInvalidArgument, "an empty change");
  // CMD [] and ENTRYPOINT [] clear; all others need an argument.
  if (rest.empty()) return Error(Errc::kInvalidArgument, fmt::format("{} requires at least one argument", keyword));
  if (keyword == "CMD") {
    config.cmd = command(rest);
  } else if (keyword == "ENTRYPOINT") {
    config.entrypoint = command(rest);
  } else if (keyword == "ENV") {
    auto const pairs = TRY(pairs_of(keyword, rest));
    for (auto const& [key, value] : pairs) set_env(config, key, value);
  } else if (keyword == "LABEL") {
    auto const pairs = TRY(pairs_of(keyword, rest));
    for (auto const& [key, value] : pairs) config.labels[key] = value;
  } else if (keyword == "EXPOSE") {
    return expose(config, rest);
  } else if (keyword == "VOLUME") {
    return volumes(config, rest);
  } else if (keyword == "HEALTHCHECK") {
    return healthcheck(config, rest);
  } else if (keyword == "USER") {
    config.user = std::string(rest);
  } else if (keyword == "WORKDIR") {
    config.working_dir = std::string(rest);
  } else if (keyword == "STOPSIGNAL") {
    config.stop_signal = std::string(rest);
  } else if (keyword == "ONBUILD") {
    config.on_build.emplace_back(rest);
  } else {
    return Error(Errc::kInvalidArgument, fmt::format("{} is not a valid change command", keyword));
  }
  return {};
}

}  // namespace davit::image
