// Blobs and layers: reading what is there, writing what will be.
#include <fmt/format.h>

#include "base/rollback.h"
#include "codec/hash.h"
#include "store/store.h"
#include "store/store_body.h"
#include "sys/durable.h"
#include "sys/file.h"
#include "sys/file_change.h"
#include "sys/tree.h"

namespace davit::store {
namespace {

std::string ingest_name(oci::Digest const& digest) { return fmt::format("{}-{}", digest.algorithm(), digest.hex()); }

Result<LayerRecord> layer_from_row(Statement const& row) {
  oci::Digest diff_id = TRY(stored_digest(row.text(1)));
  return LayerRecord{.id = row.text(0),
                     .diff_id = std::move(diff_id),
                     .tar_bytes = row.size(2),
                     .file_bytes = row.size(3),
                     .disk_bytes = row.size(4),
                     .has_recipe = row.number(5) != 0};
}

constexpr std::string_view kLayerColumns =
    "SELECT id, diff_id, tar_bytes, file_bytes, disk_bytes, has_recipe FROM layer";

}  // namespace

Result<bool> Store::has_blob(oci::Digest const& digest) {
  return body_->reader.with([&](Database& database) -> Result<bool> {
    Statement statement = TRY(database.prepare("SELECT 1 FROM blob WHERE digest=?"));
    return statement.bind(digest.text()).step();
  });
}

Result<UniqueFd> Store::open_blob(oci::Digest const& digest) {
  bool const known = TRY(has_blob(digest));
  if (!known) return Error(Errc::kNotFound, fmt::format("the store has no blob {}", digest.text()));
  return sys::openat(body_->blobs.get(), std::string(digest.hex()), O_RDONLY);
}

Result<std::string> Store::read_blob(oci::Digest const& digest, std::size_t max_size) {
  UniqueFd const file = TRY(open_blob(digest));
  return sys::read_all(file.get(), max_size);
}

Result<std::shared_ptr<Ingest>> Store::ingest(oci::Digest const& digest) {
  if (digest.algorithm() != "sha256") {
    return Error(Errc::kUnimplemented,
                 fmt::format("content named by {} is not stored yet, only by sha256", digest.algorithm()));
  }
  std::string const name = ingest_name(digest);
  bool const mine = body_->writing.with([&](auto& writing) { return writing.emplace(name, 1).second; });
  if (!mine) return Error(Errc::kConflict, fmt::format("{} is being written already", digest.text()));
  Rollback undo;
  undo.add([&] { body_->writing.with([&](auto& writing) { writing.erase(name); }); });
  UniqueFd file = TRY(sys::openat(body_->ingest.get(), name, O_RDWR | O_CREAT | O_APPEND, 0600));
  struct stat const info = TRY(sys::fstat(file.get()));
  undo.commit();
  return std::make_shared<Ingest>(*this, name, std::move(file), static_cast<std::uint64_t>(info.st_size));
}

Result<std::shared_ptr<Ingest>> Store::ingest_unnamed() {
  // Nothing can find it again after a crash; "new-" marks it for the next drop_stale_ingests().
  std::string const name = fmt::format("new-{}-{}", body_->now(), body_->new_name());
  body_->writing.with([&](auto& writing) { writing.emplace(name, 1); });
  Rollback undo;
  undo.add([&] { body_->writing.with([&](auto& writing) { writing.erase(name); }); });
  UniqueFd file = TRY(sys::openat(body_->ingest.get(), name, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600));
  undo.commit();
  auto ingest = std::make_shared<Ingest>(*this, name, std::move(file), 0);
  ingest->keep_ = false;
  return ingest;
}

Result<std::pair<oci::Digest, std::shared_ptr<Ingest>>> Store::ingest_bytes(std::string_view bytes) {
  oci::Digest digest = oci::Digest::sha256(codec::sha256_hex(bytes));
  std::shared_ptr<Ingest> file = TRY(ingest_unnamed());
  TRY(file->write(bytes));
  return std::pair(std::move(digest), std::move(file));
}

Result<void> Store::drop_stale_ingests(std::int64_t before_ns) {
  std::vector<std::string> const names = TRY(sys::list_directory(body_->ingest.get()));
  for (std::string const& name : names) {
    // Looked at and moved away under the lock, so that no pull begins to use it meanwhile; deleting may take long.
    Result<void> moved = body_->writing.with([&](auto& writing) -> Result<void> {
      if (writing.contains(name)) return {};
      std::optional<sys::EntryInfo> const info = TRY(sys::entry_info(body_->ingest.get(), name));
      if (!info || (info->modified_ns >= before_ns && !name.starts_with("new-"))) return {};
      return body_->to_trash(body_->ingest.get(), name);
    });
    TRY(std::move(moved));
  }
  return empty_trash();
}

Ingest::Ingest(Store& store, std::string name, UniqueFd file, std::uint64_t size)
    : store_(store), name_(std::move(name)), file_(std::move(file)), size_(size) {}

Ingest::~Ingest() {
  if (name_.empty()) return;
  if (!keep_ || size_ == 0) {
    discard();
  } else {
    store_.body_->writing.with([&](auto& writing) { writing.erase(name_); });
  }
}

Result<void> Ingest::write(std::string_view bytes) {
  Result<void> written = sys::write_all(file_.get(), bytes);
  if (!written) {
    keep_ = false;  // its length is not known any more, and a full disk needs the space
    return std::move(written).take_error().with_context("write a downloaded blob");
  }
  size_ += bytes.size();
  return {};
}

void Ingest::discard() {
  if (name_.empty()) return;
  // Gone already is fine; anything else is seen again by drop_stale_ingests().
  (void)sys::unlink_at(store_.body_->ingest.get(), name_).ok();
  store_.body_->writing.with([&](auto& writing) { writing.erase(name_); });
  name_.clear();
}

Result<void> Ingest::restart() {
  TRY(sys::truncate(file_.get(), 0));
  size_ = 0;
  return {};
}

Result<std::optional<LayerRecord>> Store::find_layer(std::string const& id) {
  return body_->reader.with([&](Database& database) -> Result<std::optional<LayerRecord>> {
    Statement statement = TRY(database.prepare(fmt::format("{} WHERE id=?", kLayerColumns)));
    bool const found = TRY(statement.bind(id).step());
    if (!found) return std::optional<LayerRecord>();
    LayerRecord record = TRY(layer_from_row(statement));
    return std::optional(std::move(record));
  });
}

Result<std::optional<std::pair<LayerRecord, Pin>>> Store::pin_layer(std::string const& id) {
  // The pin first: a collection either sees it or has committed, and then the row is gone.
  Pin pin = hold(layer_pin(id));
  std::optional<LayerRecord> record = TRY(find_layer(id));
  if (!record) return std::optional<std::pair<LayerRecord, Pin>>();
  return std::optional(std::pair(std::move(*record), std::move(pin)));
}

Result<std::optional<Pin>> Store::pin_blob(oci::Digest const& digest) {
  Pin pin = hold(blob_pin(digest));
  bool const known = TRY(has_blob(digest));
  if (!known) return std::optional<Pin>();
  return std::optional(std::move(pin));
}

Result<std::shared_ptr<StagedLayer>> Store::stage_layer() {
  std::string const name = body_->new_name();
  std::string const path = fmt::format("{}/tmp/{}", this->path(), name);
  TRY(sys::mkdir(path, 0700));
  Rollback undo;
  undo.add([&] { (void)sys::remove_at(body_->tmp.get(), name).ok(); });
  TRY(sys::mkdir(path + "/fs", 0755));
  UniqueFd directory = TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
  UniqueFd fs = TRY(sys::openat(directory.get(), "fs", O_RDONLY | O_DIRECTORY));
  undo.commit();
  return std::make_shared<StagedLayer>(*this, name, std::move(directory), std::move(fs));
}

StagedLayer::StagedLayer(Store& store, std::string name, UniqueFd directory, UniqueFd fs)
    : store_(store), name_(std::move(name)), directory_(std::move(directory)), fs_(std::move(fs)) {}

StagedLayer::~StagedLayer() {
  if (name_.empty()) return;
  // What cannot be removed now is moved to the trash when the store is opened again.
  (void)sys::remove_at(store_.body_->tmp.get(), name_).ok();
}

Result<UniqueFd> Store::open_layer(std::string const& id) {
  return sys::openat(body_->layers.get(), id + "/fs", O_RDONLY | O_DIRECTORY);
}

Result<UniqueFd> Store::open_layer_recipe(std::string const& id) {
  return sys::openat(body_->layers.get(), id + "/recipe", O_RDONLY);
}

std::string Store::layer_path(std::string const& id) const { return fmt::format("{}/layers/{}/fs", path(), id); }

Result<std::vector<LayerForm>> Store::layer_forms(oci::Digest const& diff_id) {
  return body_->reader.with([&](Database& database) -> Result<std::vector<LayerForm>> {
    Statement statement = TRY(database.prepare("SELECT blob, size, media_type FROM form WHERE diff_id=?"));
    statement.bind(diff_id.text());
    std::vector<LayerForm> forms;
    for (;;) {
      bool const more = TRY(statement.step());
      if (!more) return forms;
      oci::Digest blob = TRY(stored_digest(statement.text(0)));
      forms.push_back(
          {.diff_id = diff_id, .blob = std::move(blob), .size = statement.size(1), .media_type = statement.text(2)});
    }
  });
}

Result<std::optional<LayerForm>> Store::form_of_blob(oci::Digest const& blob) {
  return body_->reader.with([&](Database& database) -> Result<std::optional<LayerForm>> {
    Statement statement = TRY(database.prepare("SELECT diff_id, size, media_type FROM form WHERE blob=? LIMIT 1"));
    bool const found = TRY(statement.bind(blob.text()).step());
    if (!found) return std::optional<LayerForm>();
    oci::Digest diff_id = TRY(stored_digest(statement.text(0)));
    return std::optional(LayerForm{
        .diff_id = std::move(diff_id), .blob = blob, .size = statement.size(1), .media_type = statement.text(2)});
  });
}

Result<std::vector<LayerRecord>> Store::list_layers() {
  return body_->reader.with([&](Database& database) -> Result<std::vector<LayerRecord>> {
    Statement statement = TRY(database.prepare(kLayerColumns));
    std::vector<LayerRecord> layers;
    for (;;) {
      bool const more = TRY(statement.step());
      if (!more) return layers;
      LayerRecord record = TRY(layer_from_row(statement));
      layers.push_back(std::move(record));
    }
  });
}

Result<std::vector<BlobRecord>> Store::list_blobs() {
  return body_->reader.with([&](Database& database) -> Result<std::vector<BlobRecord>> {
    Statement statement = TRY(database.prepare("SELECT digest, size FROM blob"));
    std::vector<BlobRecord> blobs;
    for (;;) {
      bool const more = TRY(statement.step());
      if (!more) return blobs;
      oci::Digest digest = TRY(stored_digest(statement.text(0)));
      blobs.push_back({.digest = std::move(digest), .size = statement.size(1)});
    }
  });
}

Result<std::vector<std::string>> Store::blob_sources(oci::Digest const& blob) {
  return body_->reader.with([&](Database& database) -> Result<std::vector<std::string>> {
    Statement statement = TRY(database.prepare("SELECT place FROM source WHERE blob=?"));
    statement.bind(blob.text());
    std::vector<std::string> places;
    for (;;) {
      bool const more = TRY(statement.step());
      if (!more) return places;
      places.push_back(statement.text(0));
    }
  });
}

}  // namespace davit::store
