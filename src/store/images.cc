// Rows of images and their names.
#include <fmt/format.h>

#include <utility>

#include "store/store.h"
#include "store/store_body.h"

namespace davit::store {
namespace {

constexpr std::string_view kImageColumns =
    "SELECT id, manifest, layers, blobs, created_ns, stored_ns, platform, labels, size FROM image";

Result<ImageRecord> image_from_row(Statement const& row) {
  oci::Digest id = TRY(stored_digest(row.text(0)));
  std::optional<oci::Digest> manifest;
  if (!row.is_null(1)) {
    oci::Digest digest = TRY(stored_digest(row.text(1)));
    manifest = std::move(digest);
  }
  std::vector<oci::Digest> blobs = TRY(stored_digests(row.text(3)));
  return ImageRecord{.id = std::move(id),
                     .manifest = std::move(manifest),
                     .layers = split_words(row.text(2)),
                     .blobs = std::move(blobs),
                     .created_ns = row.number(4),
                     .stored_ns = row.number(5),
                     .platform = row.text(6),
                     .labels_json = row.text(7),
                     .size = row.size(8)};
}

Result<std::vector<std::string>> names_of(Database& database, std::string_view table, std::string const& image) {
  Statement statement = TRY(database.prepare(fmt::format("SELECT name FROM {} WHERE image=? ORDER BY name", table)));
  statement.bind(image);
  std::vector<std::string> names;
  for (;;) {
    bool const more = TRY(statement.step());
    if (!more) return names;
    names.push_back(statement.text(0));
  }
}

// The names of a table in the order of their images, handed out to images that come in that order too: listing walks
// three indexes side by side.
class NamesInOrder {
 public:
  static Result<NamesInOrder> open(Database& database, std::string_view table) {
    Statement rows = TRY(database.prepare(fmt::format("SELECT image, name FROM {} ORDER BY image, name", table)));
    NamesInOrder names(std::move(rows));
    TRY(names.advance());
    return names;
  }
  // image: greater than that of the last call.
  Result<std::vector<std::string>> take(std::string const& image) {
    std::vector<std::string> names;
    while (more_ && image_ <= image) {
      if (image_ == image) names.push_back(rows_.text(1));
      TRY(advance());
    }
    return names;
  }

 private:
  explicit NamesInOrder(Statement rows) : rows_(std::move(rows)) {}
  Result<void> advance() {
    more_ = TRY(rows_.step());
    if (more_) image_ = rows_.text(0);
    return {};
  }

  Statement rows_;
  bool more_ = false;
  std::string image_;
};

Result<std::optional<oci::Digest>> image_named(Database& database, std::string_view table, std::string const& name) {
  Statement statement = TRY(database.prepare(fmt::format("SELECT image FROM {} WHERE name=?", table)));
  bool const found = TRY(statement.bind(name).step());
  if (!found) return std::optional<oci::Digest>();
  oci::Digest id = TRY(stored_digest(statement.text(0)));
  return std::optional(std::move(id));
}

Result<bool> delete_named(Database& database, std::string_view table, std::string const& name) {
  Statement statement = TRY(database.prepare(fmt::format("DELETE FROM {} WHERE name=?", table)));
  TRY(statement.bind(name).run());
  return database.changes() > 0;
}

// One read transaction, so that names and images are of the same moment.
template <typename Read>
auto at_one_moment(Database& database, Read const& read) -> decltype(read()) {
  TRY(database.execute("BEGIN"));
  auto result = read();
  TRY(database.execute("COMMIT"));
  return result;
}

Result<std::vector<ImageEntry>> read_images(Database& database) {
  NamesInOrder tags = TRY(NamesInOrder::open(database, "tag"));
  NamesInOrder digests = TRY(NamesInOrder::open(database, "repo_digest"));
  Statement statement = TRY(database.prepare(fmt::format("{} ORDER BY id", kImageColumns)));
  std::vector<ImageEntry> images;
  for (;;) {
    bool const more = TRY(statement.step());
    if (!more) return images;
    ImageRecord record = TRY(image_from_row(statement));
    std::vector<std::string> image_tags = TRY(tags.take(record.id.text()));
    std::vector<std::string> image_digests = TRY(digests.take(record.id.text()));
    images.push_back({std::move(record), std::move(image_tags), std::move(image_digests)});
  }
}

Result<std::optional<ImageEntry>> read_image(Database& database, std::string const& id) {
  Statement statement = TRY(database.prepare(fmt::format("{} WHERE id=?", kImageColumns)));
  bool const found = TRY(statement.bind(id).step());
  if (!found) return std::optional<ImageEntry>();
  ImageRecord record = TRY(image_from_row(statement));
  std::vector<std::string> tags = TRY(names_of(database, "tag", id));
  std::vector<std::string> digests = TRY(names_of(database, "repo_digest", id));
  return std::optional(ImageEntry{std::move(record), std::move(tags), std::move(digests)});
}

}  // namespace

Result<std::optional<ImageEntry>> Store::find_image(oci::Digest const& id) {
  return body_->reader.with(
      [&](Database& database) { return at_one_moment(database, [&] { return read_image(database, id.text()); }); });
}

Result<std::vector<oci::Digest>> Store::images_by_prefix(std::string_view hex_prefix) {
  return body_->reader.with([&](Database& database) -> Result<std::vector<oci::Digest>> {
    // A range, so that the primary key's index answers: 'g' comes after every hex digit.
    Statement statement = TRY(database.prepare("SELECT id FROM image WHERE id>=? AND id<? LIMIT 16"));
    statement.bind(fmt::format("sha256:{}", hex_prefix)).bind(fmt::format("sha256:{}g", hex_prefix));
    std::vector<oci::Digest> ids;
    for (;;) {
      bool const more = TRY(statement.step());
      if (!more) return ids;
      oci::Digest id = TRY(stored_digest(statement.text(0)));
      ids.push_back(std::move(id));
    }
  });
}

Result<std::optional<oci::Digest>> Store::image_by_tag(std::string const& name) {
  return body_->reader.with([&](Database& database) { return image_named(database, "tag", name); });
}

Result<std::optional<oci::Digest>> Store::image_by_repo_digest(std::string const& name) {
  return body_->reader.with([&](Database& database) { return image_named(database, "repo_digest", name); });
}

Result<std::vector<ImageEntry>> Store::list_images() {
  return body_->reader.with(
      [&](Database& database) { return at_one_moment(database, [&] { return read_images(database); }); });
}

Result<void> Store::set_tag(std::string const& name, oci::Digest const& image) {
  return body_->writer.with([&](Database& database) -> Result<void> {
    Statement statement = TRY(database.prepare("INSERT OR REPLACE INTO tag SELECT ?, id FROM image WHERE id=?"));
    TRY(statement.bind(name).bind(image.text()).run());
    if (database.changes() == 0) return Error(Errc::kNotFound, fmt::format("no such image: {}", image.text()));
    return {};
  });
}

Result<bool> Store::remove_tag(std::string const& name) {
  return body_->free_space([&](Database& database) { return delete_named(database, "tag", name); });
}

Result<bool> Store::remove_repo_digest(std::string const& name) {
  return body_->free_space([&](Database& database) { return delete_named(database, "repo_digest", name); });
}

Result<bool> Store::remove_image(oci::Digest const& id) {
  return body_->free_space([&](Database& database) -> Result<bool> {
    Transaction transaction = TRY(Transaction::begin(database));
    for (char const* const sql : {"DELETE FROM tag WHERE image=?", "DELETE FROM repo_digest WHERE image=?"}) {
      Statement statement = TRY(database.prepare(sql));
      TRY(statement.bind(id.text()).run());
    }
    Statement statement = TRY(database.prepare("DELETE FROM image WHERE id=?"));
    TRY(statement.bind(id.text()).run());
    bool const removed = database.changes() > 0;
    TRY(transaction.commit());
    return removed;
  });
}

}  // namespace davit::store
