// Listing with Docker's filters.
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "codec/json.h"
#include "image/local.h"
#include "image/record.h"

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

// Go's durations ("1h30m", "90s"); nullopt when it is none.
std::optional<std::int64_t> parse_duration_ns(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t nanos;
  };
  constexpr Unit kUnits[] = {{"ms", 1'000'000},        {"us", 1000},          {"ns", 1},
                             {"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000}};
  if (text.empty()) return std::nullopt;
  std::int64_t total = 0;
  while (!text.empty()) {
    std::size_t const length = std::min(text.find_first_not_of("0123456789"), text.size());
    auto const number = parse_u64(text.substr(0, length));
    text.remove_prefix(length);
    auto const* const unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                          [&](Unit const& each) { return text.starts_with(each.name); });
    if (!number || *number > 1'000'000'000 || unit == std::end(kUnits)) return std::nullopt;
    text.remove_prefix(unit->name.size());
    total += static_cast<std::int64_t>(*number) * unit->nanos;
  }
  return total;
}

Result<std::int64_t> parse_until(std::string_view value, std::int64_t now_ns) {
  if (auto const duration = parse_duration_ns(value)) return now_ns - *duration;
  if (auto const seconds = parse_u64(value); seconds && *seconds < 9'000'000'000)
    return static_cast<std::int64_t>(*seconds) * 1'000'000'000;
  if (std::int64_t const time = parse_time_ns(value); time != 0) return time;
  return Error(
      Errc::kInvalidArgument,
      fmt::format(
          "invalid filter 'until={}': a duration (24h), a time (2026-01-02T15:04:05Z) or unix seconds are expected",
          value));
}

Result<void> apply_filter(ListFilter& filter, std::string_view name, std::string_view value, std::int64_t now_ns) {
  if (name == "dangling") {
    filter.dangling = TRY(parse_bool(name, value));
  } else if (name == "reference") {
    filter.references.emplace_back(value);
  } else if (name == "label") {
    filter.labels.push_back(parse_label(value));
  } else if (name == "label!") {
    filter.not_labels.push_back(parse_label(value));
  } else if (name == "before") {
    filter.before = std::string(value);
  } else if (name == "since") {
    filter.since = std::string(value);
  } else if (name == "until") {
    filter.until_ns = TRY(parse_until(value, now_ns));
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

// A pattern is compared with the familiar name with and without its tag: '*' does not cross '/'.
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
  std::optional<std::int64_t> before, since;
  if (filter.before) {
    Found const found = TRY(find(store, *filter.before));
    before = found.entry.image.created_ns;
  }
  if (filter.since) {
    Found const found = TRY(find(store, *filter.since));
    since = found.entry.image.created_ns;
  }
  std::vector<store::ImageEntry> images = TRY(store.list_images());
  std::vector<store::ImageEntry> kept;
  for (store::ImageEntry& entry : images) {
    std::int64_t const created = entry.image.created_ns;
    if (filter.dangling && *filter.dangling != entry.tags.empty()) continue;
    if ((before && created >= *before) || (since && created <= *since) ||
        (filter.until_ns && created >= *filter.until_ns))
      continue;
    bool const labelled = TRY(fits_labels(entry, filter));
    if (!labelled || !keep_references(entry, filter.references)) continue;
    kept.push_back(std::move(entry));
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [](auto const& a, auto const& b) { return a.image.created_ns > b.image.created_ns; });
  return kept;
}

}  // namespace davit::image
