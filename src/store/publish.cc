// publish: what one pull, load or build adds becomes visible, all of it or nothing.
#include <fmt/format.h>

#include "base/rollback.h"
#include "store/store.h"
#include "store/store_body.h"
#include "sys/durable.h"
#include "sys/file.h"

namespace davit::store {
namespace {

Result<bool> has_row(Database& database, std::string_view sql, std::string const& key) {
  Statement statement = TRY(database.prepare(sql));
  return statement.bind(key).step();
}

// A folder's entry without a row is what a failed publish left: out of the way with it.
Result<void> move_into_place(Store::Body& body, int from_dir, std::string const& from, int to_dir,
                             std::string const& to) {
  Result<void> const moved = sys::rename_at(from_dir, from, to_dir, to, sys::Existing::kKeep);
  if (moved) return {};
  if (moved.error().code() != Errc::kAlreadyExists)
    return sys::rename_at(from_dir, from, to_dir, to, sys::Existing::kKeep);
  TRY(body.to_trash(to_dir, to));
  return sys::rename_at(from_dir, from, to_dir, to, sys::Existing::kKeep);
}

Result<void> insert_layers(Database& database, Batch const& batch, std::int64_t kept_until) {
  Statement statement =
      TRY(database.prepare("INSERT INTO layer VALUES(?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
                           "kept_until_ns=max(kept_until_ns, excluded.kept_until_ns)"));
  for (auto const& layer : batch.layers) {
    LayerRecord const& record = layer->record;
    statement.bind(record.id).bind(record.diff_id.text()).bind(record.tar_bytes).bind(record.file_bytes);
    statement.bind(record.disk_bytes).bind(std::int64_t{record.has_recipe}).bind(kept_until);
    TRY(statement.run());
  }
  return {};
}

Result<void> insert_blobs(Database& database, Batch const& batch, std::int64_t kept_until) {
  Statement statement =
      TRY(database.prepare("INSERT INTO blob VALUES(?,?,?) ON CONFLICT(digest) DO UPDATE SET "
                           "kept_until_ns=max(kept_until_ns, excluded.kept_until_ns)"));
  for (auto const& [digest, file] : batch.blobs) {
    TRY(statement.bind(digest.text()).bind(file->size()).bind(kept_until).run());
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

Result<void> insert_images(Database& database, Batch const& batch) {
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
  for (auto const& [name, id] : batch.tags) TRY(tag.bind(name).bind(id.text()).run());
  Statement repo_digest = TRY(database.prepare("INSERT OR REPLACE INTO repo_digest VALUES(?,?)"));
  for (auto const& [name, id] : batch.repo_digests) TRY(repo_digest.bind(name).bind(id.text()).run());
  return {};
}

Result<void> insert_rows(Database& database, Batch const& batch, std::int64_t kept_until) {
  Transaction transaction = TRY(Transaction::begin(database));
  TRY(insert_layers(database, batch, kept_until));
  TRY(insert_blobs(database, batch, kept_until));
  TRY(insert_forms(database, batch));
  TRY(insert_images(database, batch));
  return transaction.commit();
}

}  // namespace

Result<void> Store::publish(Batch const& batch) {
  Rollback undo;
  bool const has_files = !batch.layers.empty() || !batch.blobs.empty();
  // Renaming under the writer's lock: another batch may hold the same staged layer or blob.
  Result<void> moved = body_->writer.with([&](Database& database) -> Result<void> {
    for (auto const& layer : batch.layers) {
      if (layer->name_.empty()) continue;
      bool const known = TRY(has_row(database, "SELECT 1 FROM layer WHERE id=?", layer->record.id));
      if (known) continue;  // the staged copy is deleted with its last user
      TRY(move_into_place(*body_, body_->tmp.get(), layer->name_, body_->layers.get(), layer->record.id));
      layer->name_.clear();
      undo.add([this, id = layer->record.id] { (void)body_->to_trash(body_->layers.get(), id).ok(); });
    }
    for (auto const& [digest, file] : batch.blobs) {
      if (file->name_.empty()) continue;
      bool const known = TRY(has_row(database, "SELECT 1 FROM blob WHERE digest=?", digest.text()));
      if (known) {
        file->discard();
        continue;
      }
      std::string const name(digest.hex());
      TRY(move_into_place(*body_, body_->ingest.get(), file->name_, body_->blobs.get(), name));
      body_->writing.with([&](auto& writing) { writing.erase(file->name_); });
      file->name_.clear();
      undo.add([this, name] { (void)body_->to_trash(body_->blobs.get(), name).ok(); });
    }
    return {};
  });
  TRY(std::move(moved));
  if (has_files) TRY_CTX(sys::sync_filesystem(root()), "write images to the disk");
  std::int64_t const kept_until =
      batch.keep_unused.count() > 0 ? body_->now() + batch.keep_unused.count() * 1'000'000'000 : 0;
  TRY(body_->writer.with([&](Database& database) { return insert_rows(database, batch, kept_until); }));
  undo.commit();
  return {};
}

}  // namespace davit::store
