#include "image/record.h"

#include <ctime>

#include "base/text.h"
#include "codec/json_writer.h"

namespace davit::image {
namespace {

std::string labels_json(oci::ContainerConfig const& config) {
  json::Writer writer;
  writer.begin_object();
  for (auto const& [key, value] : config.labels) writer.field(key, value);
  writer.end_object();
  return writer.take();
}

// The digits at `at`, as a number; -1 when there are others.
std::int64_t digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return -1;
  auto const number = parse_u64(text.substr(at, count));
  return number ? static_cast<std::int64_t>(*number) : -1;
}

// "Z", "+02:00": seconds east of UTC
std::int64_t offset_seconds(std::string_view zone) {
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-')) return 0;
  std::int64_t const seconds = digits(zone, 1, 2) * 3600 + digits(zone, 4, 2) * 60;
  return zone[0] == '-' ? -seconds : seconds;
}

}  // namespace

std::int64_t parse_time_ns(std::string_view text) {
  // 2026-11-21T19:57:22.123456789+02:00
  if (text.size() < 20 || text[4] != '-' || text[10] != 'T') return 0;
  std::tm parts{};
  parts.tm_year = static_cast<int>(digits(text, 0, 4) - 1900);
  parts.tm_mon = static_cast<int>(digits(text, 5, 2) - 1);
  parts.tm_mday = static_cast<int>(digits(text, 8, 2));
  parts.tm_hour = static_cast<int>(digits(text, 11, 2));
  parts.tm_min = static_cast<int>(digits(text, 14, 2));
  parts.tm_sec = static_cast<int>(digits(text, 17, 2));
  if (parts.tm_year < 0 || parts.tm_mon < 0 || parts.tm_mday < 1 || parts.tm_hour < 0 || parts.tm_min < 0 ||
      parts.tm_sec < 0)
    return 0;
  std::int64_t nanos = 0;
  std::size_t end = 19;
  if (text[end] == '.') {
    std::int64_t scale = 100'000'000;
    for (++end; end < text.size() && text[end] >= '0' && text[end] <= '9'; ++end, scale /= 10)
      nanos += (text[end] - '0') * scale;
  }
  // Years past 2262 do not fit 64 bits of nanoseconds, and Go's zero time (year 1) means that there is none.
  if (parts.tm_year > 2262 - 1900 - 1) return 0;
  std::int64_t const seconds = ::timegm(&parts) - offset_seconds(text.substr(end));
  return seconds * 1'000'000'000 + nanos;
}

store::ImageRecord make_record(oci::Digest id, oci::ImageConfig const& config,
                               std::vector<store::LayerRecord> const& layers, std::vector<oci::Digest> blobs,
                               std::int64_t now_ns) {
  store::ImageRecord record{.id = std::move(id),
                            .manifest = std::nullopt,
                            .layers = {},
                            .blobs = std::move(blobs),
                            .created_ns = parse_time_ns(config.created),
                            .stored_ns = now_ns,
                            .platform = oci::to_string(config.platform),
                            .labels_json = labels_json(config.config),
                            .size = 0};
  for (store::LayerRecord const& layer : layers) {
    record.layers.push_back(layer.id);
    record.size += layer.file_bytes;
  }
  return record;
}

}  // namespace davit::image
