#include "image/record.h"

#include "codec/json_writer.h"
#include "image/times.h"

namespace davit::image {
namespace {

std::string labels_json(oci::ContainerConfig const& config) {
  json::Writer writer;
  writer.begin_object();
  for (auto const& [key, value] : config.labels) writer.field(key, value);
  writer.end_object();
  return writer.take();
}

}  // namespace

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
