// publish: what one pull, load or build adds becomes visible, all of it or nothing.
#include <fmt/format.h>

#include <limits>
#include <mutex>
#include <set>

#include "base/rollback.h"
#include "store/store.h"
#include "store/store_body.h"
#include "sys/durable.h"
#include "sys/file.h"

namespace davit::store {
namespace {

// A folder's entry without a row is what a failed deletion left: out of the way with it.
Result<void> move_into_place(Store::Body& body, int from_dir, std::string const& from, int to_dir,
                             std::string const& to) {
  Result<void> moved = sys::rename_at(from_dir, from, to_dir, to, sys::Existing::kKeep);
  if (moved || moved.error().code() != Errc::kAlreadyExists) return moved;
  TRY(body.to_trash(to_dir, to));
  return sys::rename_at(from_dir, from, to_dir, to, sys::Existing::kKeep);
}

Error missing(std::string_view what, std::string_view which, std::string_view for_what) {
  return Error(Errc::kConflict,
               fmt::format("the {} {} {} is not in the store, or was deleted meanwhile", what, which, for_what));
}

Result<void> insert_layers(Database& database, Batch const& batch, std::int64_t until) {
  Statement statement =
      TRY(database.prepare("INSERT INTO layer VALUES(?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
                           "kept_until_ns=max(kept_until_ns, excluded.kept_until_ns)"));
  for (auto const& layer : batch.layers) {
    LayerRecord const& record = layer->record;
    statement.bind(record.id).bind(record.diff_id.text()).bind(record.tar_bytes).bind(record.file_bytes);
    statement.bind(record.disk_bytes).bind(std::int64_t{record.has_recipe}).bind(until);
    TRY(statement.run());
  }
  return {};
}

Result<void> insert_blobs(Database& database, Batch const& batch, std::int64_t until) {
  Statement statement =
      TRY(database.prepare("INSERT INTO blob VALUES(?,?,?) ON CONFLICT(digest) DO UPDATE SET "
                           "kept_until_ns=max(kept_until_ns, excluded.kept_until_ns)"));
  for (auto const& [digest, file] : batch.blobs) {
    struct stat const info = TRY(sys::fstat(file->fd()));
    TRY(statement.bind(digest.text()).bind(std::int64_t{info.st_size}).bind(until).run());
  }
  return {};
}

Result<void> insert_forms(Database& database, Batch const& batch) {
  Statement form = TRY(database.prepare("INSERT OR REPLACE INTO form VALUES(?,?,?,?)"));
  for (LayerForm const& each : batch.forms) {
    TRY(form.bind(each.diff_id.text()).bind(each.blob.text()).bind(each.size).bind(each.media_type).run());
  }
  Statement source = TRY(database.prepare("INSERT OR IGNORE INTO source VALUES(?,?)"));
  for (auto const& [blob, place] : batch.sources) TRY(source.bind(blob.text()).bind(place).run());
  return {};
}

// What an image is made of exists now, and a collection finds the image's row from now on.
Result<void> check_content(Database& database, ImageRecord const& record) {
  std::string const image = "of image " + record.id.text();
  Statement layer = TRY(database.prepare("SELECT 1 FROM layer WHERE id=?"));
  for (std::string const& id : record.layers) {
    bool const known = TRY(layer.bind(id).step());
    if (!known) return missing("layer", id, image);
    layer.reset();
  }
  Statement blob = TRY(database.prepare("SELECT 1 FROM blob WHERE digest=?"));
  for (oci::Digest const& digest : record.blobs) {
    bool const known = TRY(blob.bind(digest.text()).step());
    if (!known) return missing("blob", digest.text(), image);
    blob.reset();
  }
  return {};
}

Result<void> insert_images(Database& database, Batch const& batch) {
  for (ImageRecord const& record : batch.images) TRY(check_content(database, record));
  // An image that is here already keeps its first arrival and gets what is new: a manifest, more blobs.
  Statement image =
      TRY(database.prepare("INSERT INTO image VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
                           "manifest=coalesce(excluded.manifest, manifest), layers=excluded.layers, "
                           "blobs=CASE WHEN excluded.manifest IS NULL AND manifest IS NOT NULL THEN blobs ELSE "
                           "excluded.blobs END, size=excluded.size"));
  for (ImageRecord const& record : batch.images) {
    std::optional<std::string> manifest;
    if (record.manifest) manifest = record.manifest->text();
    image.bind(record.id.text()).bind_or_null(manifest).bind(join(record.layers)).bind(join_digests(record.blobs));
    image.bind(record.created_ns)
        .bind(record.stored_ns)
        .bind(record.platform)
        .bind(record.labels_json)
        .bind(record.size);
    TRY(image.run());
  }
  Statement tag = TRY(database.prepare("INSERT OR REPLACE INTO tag VALUES(?,?)"));
  for (auto const& [name, id] : batch.tags) TRY_CTX(tag.bind(name).bind(id.text()).run(), fmt::format("tag {}", name));
  Statement repo_digest = TRY(database.prepare("INSERT OR REPLACE INTO repo_digest VALUES(?,?)"));
  for (auto const& [name, id] : batch.repo_digests) {
    TRY_CTX(repo_digest.bind(name).bind(id.text()).run(), fmt::format("name {}", name));
  }
  return {};
}

Result<void> insert_rows(Database& database, Batch const& batch, std::int64_t until) {
  Transaction transaction = TRY(Transaction::begin(database));
  TRY(insert_layers(database, batch, until));
  TRY(insert_blobs(database, batch, until));
  TRY(insert_forms(database, batch));
  TRY(insert_images(database, batch));
  return transaction.commit();
}

std::int64_t kept_until(std::int64_t now, std::chrono::seconds keep) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  if (keep.count() <= 0) return 0;
  if (keep.count() > (std::numeric_limits<std::int64_t>::max() - now) / kSecond)
    return std::numeric_limits<std::int64_t>::max();
  return now + keep.count() * kSecond;
}

}  // namespace

// The steps of one publish, with `publishing` locked. Everything is pinned before it is looked for: a collection then
// either leaves it alone, or has committed and its row is gone.
class Store::Publication {
 public:
  Publication(Store& store, Batch const& batch) : store_(store), body_(*store.body_), batch_(batch) {}
  Result<void> run();

 private:
  Result<void> place_layers();
  Result<void> place_blobs();
  Result<bool> known(std::string_view sql, std::string const& key);
  void finish();

  Store& store_;
  Body& body_;
  Batch const& batch_;
  std::vector<Pin> layer_pins_, blob_pins_;
  std::set<std::string> placed_;  // keys of pins
  Rollback undo_;
};

Result<bool> Store::Publication::known(std::string_view sql, std::string const& key) {
  return body_.reader.with([&](Database& database) -> Result<bool> {
    Statement statement = TRY(database.prepare(sql));
    return statement.bind(key).step();
  });
}

Result<void> Store::Publication::place_layers() {
  for (auto const& layer : batch_.layers) {
    std::string const& id = layer->record.id;
    layer_pins_.push_back(store_.hold(layer_pin(id)));
    bool const exists = TRY(known("SELECT 1 FROM layer WHERE id=?", id));
    if (exists || placed_.contains(layer_pin(id))) continue;  // the staged copy is deleted with its last user
    if (layer->name_.empty()) return missing("layer", id, "that was published before");
    TRY(move_into_place(body_, body_.tmp.get(), layer->name_, body_.layers.get(), id));
    placed_.insert(layer_pin(id));
    undo_.add([this, id, name = layer->name_] {
      (void)sys::rename_at(body_.layers.get(), id, body_.tmp.get(), name, sys::Existing::kKeep).ok();
    });
  }
  return {};
}

Result<void> Store::Publication::place_blobs() {
  for (auto const& [digest, file] : batch_.blobs) {
    blob_pins_.push_back(store_.hold(blob_pin(digest)));
    bool const exists = TRY(known("SELECT 1 FROM blob WHERE digest=?", digest.text()));
    if (exists || placed_.contains(blob_pin(digest))) continue;
    if (file->name_.empty()) return missing("blob", digest.text(), "that was published before");
    std::string const name(digest.hex());
    TRY(move_into_place(body_, body_.ingest.get(), file->name_, body_.blobs.get(), name));
    placed_.insert(blob_pin(digest));
    undo_.add([this, name, back = file->name_] {
      (void)sys::rename_at(body_.blobs.get(), name, body_.ingest.get(), back, sys::Existing::kKeep).ok();
    });
  }
  return {};
}

// The rows are there. Whoever holds a part of the batch keeps its pin.
void Store::Publication::finish() {
  undo_.commit();
  for (std::size_t i = 0; i < batch_.layers.size(); ++i) {
    StagedLayer& layer = *batch_.layers[i];
    if (placed_.erase(layer_pin(layer.record.id)) > 0) layer.name_.clear();
    layer.published_ = std::move(layer_pins_[i]);
  }
  for (std::size_t i = 0; i < batch_.blobs.size(); ++i) {
    oci::Digest const& digest = batch_.blobs[i].first;
    std::shared_ptr<Ingest> const& file = batch_.blobs[i].second;
    if (placed_.erase(blob_pin(digest)) > 0) {
      body_.writing.with([&](auto& writing) { writing.erase(file->name_); });
      file->name_.clear();
    } else {
      file->discard();  // a copy of what is there; nothing when it was published before
    }
    file->published_ = std::move(blob_pins_[i]);
  }
}

Result<void> Store::Publication::run() {
  TRY(place_layers());
  TRY(place_blobs());
  if (!placed_.empty()) TRY_CTX(sys::sync_filesystem(store_.root()), "write images to the disk");
  std::int64_t const until = kept_until(body_.now(), batch_.keep_unused);
  Result<void> committed = body_.writer.with([&](Database& database) { return insert_rows(database, batch_, until); });
  TRY(std::move(committed));
  finish();
  return {};
}

Result<void> Store::publish(Batch const& batch) {
  std::lock_guard const alone(body_->publishing);
  return Publication(*this, batch).run();
}

}  // namespace davit::store
