// Listing with Docker's filters.
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>

#include "codec/json.h"
#include "image/local.h"
#include "image/times.h"

namespace davit::image {
namespace {

using Labels = std::map<std::string, std::string>;

Result<bool> parse_bool(std::string_view name, std::string_view value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return Error(Errc::kInvalidArgument, fmt::format("invalid filter '{}={}': true or false is expected", name, value));
}

std::pair<std::string, std::optional<std::string>> parse_label(std::string_view value) {
  auto const equals = value.find('=');
  if (equals == std::string_view::npos) return {std::string(value), std::nullopt};
  return {std::string(value.substr(0, equals)), std::string(value.substr(equals + 1))};
}

Result<std::int64_t> parse_until(std::string_view value, std::int64_t now_ns) {
  if (auto const moment = parse_moment_ns(value, now_ns)) return *moment;
  return Error(
      Errc::kInvalidArgument,
      fmt::format(
          "invalid filter 'until={}': a duration (24h), a time (2026-01-02T15:04:05Z) or unix seconds are expected",
          value));
}

// fnmatch takes what is not a pattern for plain text; Docker refuses it, and a person wants to know.
Result<void> check_pattern(std::string_view pattern) {
  bool inside = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && ++i == pattern.size()) inside = true;
    if (i >= pattern.size()) break;
    if (pattern[i] == '[') inside = true;
    if (pattern[i] == ']') inside = false;
  }
  if (!inside) return {};
  return Error(Errc::kInvalidArgument,
               fmt::format("invalid filter 'reference={}': syntax error in pattern: a bracket or backslash has no end",
                           pattern));
}

Result<void> apply_filter(ListFilter& filter, std::string_view name, std::string_view value, std::int64_t now_ns) {
  if (name == "dangling") {
    bool const wanted = TRY(parse_bool(name, value));
    if (filter.dangling && *filter.dangling != wanted)
      return Error(Errc::kInvalidArgument, "invalid filter 'dangling': it cannot be both true and false");
    filter.dangling = wanted;
  } else if (name == "reference") {
    TRY(check_pattern(value));
    filter.references.emplace_back(value);
  } else if (name == "label") {
    filter.labels.push_back(parse_label(value));
  } else if (name == "label!") {
    filter.not_labels.push_back(parse_label(value));
  } else if (name == "before") {
    filter.before.emplace_back(value);
  } else if (name == "since") {
    filter.since.emplace_back(value);
  } else if (name == "until") {
    std::int64_t const until = TRY(parse_until(value, now_ns));
    filter.until_ns = std::min(until, filter.until_ns.value_or(until));
  } else {
    return Error(
        Errc::kInvalidArgument,
        fmt::format("invalid filter '{}': before, dangling, label, label!, reference, since and until are known",
                    name));
  }
  return {};
}

Result<Labels> labels_of(store::ImageEntry const& entry) {
  Labels labels;
  json::Document const document = TRY(json::Document::parse(entry.image.labels_json));
  json::Field const root = document.root();
  TRY(json::read(root, labels));
  return labels;
}

bool has_label(Labels const& labels, std::pair<std::string, std::optional<std::string>> const& wanted) {
  auto const found = labels.find(wanted.first);
  return found != labels.end() && (!wanted.second || found->second == *wanted.second);
}

Result<bool> fits_labels(store::ImageEntry const& entry, ListFilter const& filter) {
  if (filter.labels.empty() && filter.not_labels.empty()) return true;
  Labels const labels = TRY(labels_of(entry));
  for (auto const& wanted : filter.labels) {
    if (!has_label(labels, wanted)) return false;
  }
  for (auto const& unwanted : filter.not_labels) {
    if (has_label(labels, unwanted)) return false;
  }
  return true;
}

// As Docker: a pattern is compared with the familiar name with and without its tag, and '*' does not cross '/'.
// "docker.io/library/nginx" fits nothing there; here it fits what it names.
bool fits_pattern(std::string const& pattern, std::string const& full_name) {
  Result<oci::ImageRef> const ref = oci::ImageRef::parse(full_name);
  if (!ref) return false;
  for (std::string const& text : {ref->familiar(), ref->familiar_name(), ref->to_string(), ref->name()}) {
    if (::fnmatch(pattern.c_str(), text.c_str(), FNM_PATHNAME) == 0) return true;
  }
  return false;
}

// Names that fit none of the patterns are not shown, and an image without any is not listed.
bool keep_references(store::ImageEntry& entry, std::vector<std::string> const& patterns) {
  if (patterns.empty()) return true;
  auto const unfit = [&](std::string const& name) {
    return std::none_of(patterns.begin(), patterns.end(),
                        [&](std::string const& pattern) { return fits_pattern(pattern, name); });
  };
  std::erase_if(entry.tags, unfit);
  std::erase_if(entry.repo_digests, unfit);
  return !entry.tags.empty() || !entry.repo_digests.empty();
}

// As Docker: an image that has only a name with digest is dangling when those are asked for, and is not left out when
// they are not wanted.
bool fits_dangling(store::ImageEntry const& entry, std::optional<bool> wanted) {
  if (!wanted) return true;
  return *wanted ? entry.tags.empty() : !entry.tags.empty() || !entry.repo_digests.empty();
}

}  // namespace

Result<ListFilter> parse_list_filters(std::vector<std::string> const& filters, std::int64_t now_ns) {
  ListFilter filter;
  for (std::string const& text : filters) {
    auto const equals = text.find('=');
    if (equals == std::string::npos)
      return Error(Errc::kInvalidArgument, fmt::format("invalid filter '{}': NAME=VALUE is expected", text));
    // "label!=x" has its '!' before the '='.
    std::string_view const name = std::string_view(text).substr(0, equals);
    TRY(apply_filter(filter, name, std::string_view(text).substr(equals + 1), now_ns));
  }
  return filter;
}

Result<std::vector<store::ImageEntry>> list(store::Store& store, ListFilter const& filter) {
  // Of several, before the oldest and since the newest.
  std::optional<std::int64_t> before, since;
  for (std::string const& word : filter.before) {
    Found const found = TRY(find(store, word));
    before = std::min(found.entry.image.created_ns, before.value_or(found.entry.image.created_ns));
  }
  for (std::string const& word : filter.since) {
    Found const found = TRY(find(store, word));
    since = std::max(found.entry.image.created_ns, since.value_or(found.entry.image.created_ns));
  }
  std::vector<store::ImageEntry> images = TRY(store.list_images());
  std::vector<store::ImageEntry> kept;
  for (store::ImageEntry& entry : images) {
    std::int64_t const created = entry.image.created_ns;
    if ((before && created >= *before) || (since && created <= *since) ||
        (filter.until_ns && created >= *filter.until_ns))
      continue;
    bool const labelled = TRY(fits_labels(entry, filter));
    if (!labelled || !keep_references(entry, filter.references) || !fits_dangling(entry, filter.dangling)) continue;
    kept.push_back(std::move(entry));
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [](auto const& a, auto const& b) { return a.image.created_ns > b.image.created_ns; });
  return kept;
}

}  // namespace davit::image
