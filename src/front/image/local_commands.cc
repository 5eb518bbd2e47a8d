#include <fmt/format.h>

#include "base/text.h"
#include "codec/json_writer.h"
#include "front/image/commands.h"
#include "image/local.h"
#include "image/verify.h"

namespace davit::front {
namespace {

std::vector<std::string> familiar(std::vector<std::string> const& names) {
  std::vector<std::string> shown;
  for (std::string const& name : names) {
    Result<oci::ImageRef> const ref = oci::ImageRef::parse(name);
    shown.push_back(ref ? ref->familiar() : name);
  }
  return shown;
}

void write_entry(json::Writer& writer, store::ImageEntry const& entry) {
  writer.field("Id", entry.image.id.text())
      .field("RepoTags", familiar(entry.tags))
      .field("RepoDigests", familiar(entry.repo_digests))
      .field("Created", entry.image.created_ns / 1'000'000'000)
      .field("Size", entry.image.size)
      .field("Platform", entry.image.platform);
  writer.key("Labels").raw(entry.image.labels_json);
}

Result<int> print_json(json::Writer& writer) {
  TRY(print_text(writer.take() + "\n"));
  return 0;
}

Result<int> print_removal(image::Removal const& removal) {
  json::Writer writer;
  writer.begin_object()
      .field("untagged", removal.untagged)
      .field("deleted", removal.deleted)
      .field("freed", removal.freed_bytes)
      .end_object();
  return print_json(writer);
}

std::int64_t now_of(ImageTool& tool) { return tool.context().now_ns(); }

}  // namespace

ImageResult image_list(ImageTool& tool, ImageArguments arguments) {
  std::vector<std::string> filters;
  std::vector<Flag> const flags = {list_flag("filter", 'f', "NAME=VALUE", filters, "which images")};
  TRY(parse_words(flags, arguments, 0, 0, "list [--filter NAME=VALUE]"));
  image::ListFilter const filter = TRY(image::parse_list_filters(filters, now_of(tool)));
  std::vector<store::ImageEntry> const images = TRY(image::list(*tool.store, filter));
  json::Writer writer;
  writer.begin_array();
  for (store::ImageEntry const& entry : images) {
    writer.begin_object();
    write_entry(writer, entry);
    writer.end_object();
  }
  writer.end_array();
  return print_json(writer);
}

ImageResult image_tag(ImageTool& tool, ImageArguments arguments) {
  std::vector<std::string> const words = TRY(parse_words({}, arguments, 2, 2, "tag SOURCE TARGET"));
  TRY(image::tag(*tool.store, words[0], words[1]));
  return 0;
}

ImageResult image_rm(ImageTool& tool, ImageArguments arguments) {
  image::RemoveOptions options;
  bool no_prune = false;
  std::vector<Flag> const flags = {
      switch_flag("force", 'f', options.force, "also when it has names in several repositories"),
      switch_flag("no-prune", 0, no_prune, "keep the layers")};
  std::vector<std::string> const words = TRY(parse_words(flags, arguments, 1, 1000, "rm [-f] IMAGE..."));
  options.prune_layers = !no_prune;
  for (std::string const& word : words) {
    image::Removal const removal = TRY(image::remove(*tool.store, word, options));
    TRY(print_removal(removal));
  }
  return 0;
}

ImageResult image_prune(ImageTool& tool, ImageArguments arguments) {
  image::PruneOptions options;
  std::vector<std::string> filters;
  std::vector<Flag> const flags = {switch_flag("all", 'a', options.all, "also images with names"),
                                   list_flag("filter", 0, "NAME=VALUE", filters, "label, until")};
  TRY(parse_words(flags, arguments, 0, 0, "prune [-a] [--filter NAME=VALUE]"));
  options.filter = TRY(image::parse_list_filters(filters, now_of(tool)));
  image::Removal const removal = TRY(image::prune(*tool.store, options));
  return print_removal(removal);
}

ImageResult image_history(ImageTool& tool, ImageArguments arguments) {
  std::vector<std::string> const words = TRY(parse_words({}, arguments, 1, 1, "history IMAGE"));
  std::vector<image::HistoryLine> const lines = TRY(image::history(*tool.store, words[0]));
  json::Writer writer;
  writer.begin_array();
  for (image::HistoryLine const& line : lines) {
    writer.begin_object().field("Id", line.id).field("Created", line.created).field("CreatedBy", line.created_by);
    writer.field("Tags", line.tags).field("Size", line.size).field("Comment", line.comment).end_object();
  }
  writer.end_array();
  return print_json(writer);
}

ImageResult image_inspect(ImageTool& tool, ImageArguments arguments) {
  std::vector<std::string> const words = TRY(parse_words({}, arguments, 1, 1, "inspect IMAGE"));
  image::Found const found = TRY(image::find(*tool.store, words[0]));
  image::StoredConfig const config = TRY(image::read_config(*tool.store, found.entry.image.id));
  json::Writer writer;
  writer.begin_object();
  write_entry(writer, found.entry);
  if (found.entry.image.manifest) writer.field("Manifest", found.entry.image.manifest->text());
  writer.field("Layers", found.entry.image.layers);
  writer.key("Config").raw(config.bytes);
  writer.end_object();
  return print_json(writer);
}

ImageResult image_df(ImageTool& tool, ImageArguments arguments) {
  TRY(parse_words({}, arguments, 0, 0, "df"));
  image::DiskUsage const usage = TRY(image::disk_usage(*tool.store, {}));
  json::Writer writer;
  writer.begin_object().field("LayersBytes", usage.layers_bytes).field("BlobsBytes", usage.blobs_bytes);
  writer.field("OtherBytes", usage.other_bytes)
      .field("ReclaimableBytes", usage.reclaimable_bytes)
      .key("Images")
      .begin_array();
  for (image::ImageUsage const& each : usage.images) {
    writer.begin_object().field("Id", each.id.text()).field("Size", each.size).field("SharedSize", each.shared_size);
    writer.field("UniqueSize", each.unique_size).end_object();
  }
  writer.end_array().end_object();
  return print_json(writer);
}

ImageResult image_gc(ImageTool& tool, ImageArguments arguments) {
  TRY(parse_words({}, arguments, 0, 0, "gc"));
  TRY(tool.store->drop_stale_ingests(now_of(tool)));
  store::Collected const collected = TRY(tool.store->collect());
  std::vector<std::string> layers, blobs;
  for (oci::Digest const& digest : collected.layers) layers.push_back(digest.text());
  for (oci::Digest const& digest : collected.blobs) blobs.push_back(digest.text());
  TRY(tool.store->empty_trash());
  json::Writer writer;
  writer.begin_object()
      .field("layers", layers)
      .field("blobs", blobs)
      .field("freed", collected.freed_bytes)
      .end_object();
  return print_json(writer);
}

ImageResult image_fsck(ImageTool& tool, ImageArguments arguments) {
  TRY(parse_words({}, arguments, 0, 0, "fsck"));
  std::vector<image::Damage> const damages = TRY(image::verify(*tool.store, tool.stop.get_token()));
  json::Writer writer;
  writer.begin_array();
  for (image::Damage const& damage : damages) {
    std::vector<std::string> images;
    for (oci::Digest const& id : damage.images) images.push_back(id.text());
    writer.begin_object()
        .field("what", damage.what)
        .field("reason", damage.reason)
        .field("images", images)
        .end_object();
  }
  writer.end_array();
  TRY(print_text(writer.take() + "\n"));
  return damages.empty() ? 0 : 1;
}

ImageResult image_mount(ImageTool& tool, ImageArguments arguments) {
  std::vector<std::string> const words = TRY(parse_words({}, arguments, 1, 1, "mount IMAGE"));
  image::Found const found = TRY(image::find(*tool.store, words[0]));
  std::vector<std::string> const paths = TRY(image::mount_layers(*tool.store, found.entry.image));
  json::Writer writer;
  writer.begin_array();
  for (std::string const& path : paths) writer.value(path);
  writer.end_array();
  return print_json(writer);
}

}  // namespace davit::front
