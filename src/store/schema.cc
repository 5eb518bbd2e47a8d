#include <fmt/format.h>

#include "store/database.h"
#include "store/store_body.h"

namespace davit::store {
namespace {

// docs/disk/state-db.md describes each table. Columns with several ids hold them separated by spaces: they are always
// read and written as a whole, and listing a thousand images then touches a thousand rows.
constexpr int kVersion = 1;
constexpr char const* kTables = R"(
CREATE TABLE image(
  id TEXT PRIMARY KEY, manifest TEXT, layers TEXT NOT NULL, blobs TEXT NOT NULL, created_ns INTEGER NOT NULL,
  stored_ns INTEGER NOT NULL, platform TEXT NOT NULL, labels TEXT NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tag(name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES image(id)) WITHOUT ROWID;
CREATE INDEX tag_image ON tag(image);
CREATE TABLE repo_digest(name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES image(id)) WITHOUT ROWID;
CREATE INDEX repo_digest_image ON repo_digest(image);
CREATE TABLE layer(
  id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, tar_bytes INTEGER NOT NULL, file_bytes INTEGER NOT NULL,
  disk_bytes INTEGER NOT NULL, has_recipe INTEGER NOT NULL, kept_until_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blob(digest TEXT PRIMARY KEY, size INTEGER NOT NULL, kept_until_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE form(
  diff_id TEXT NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL,
  PRIMARY KEY(diff_id, blob)) WITHOUT ROWID;
CREATE INDEX form_blob ON form(blob);
CREATE TABLE source(blob TEXT NOT NULL, place TEXT NOT NULL, PRIMARY KEY(blob, place)) WITHOUT ROWID;
CREATE TABLE lease(
  id TEXT PRIMARY KEY, expires_ns INTEGER NOT NULL, layers TEXT NOT NULL, blobs TEXT NOT NULL) WITHOUT ROWID;
)";

Result<std::int64_t> version_of(Database& database) {
  Statement statement = TRY(database.prepare("PRAGMA user_version"));
  TRY(statement.step());
  return statement.number(0);
}

}  // namespace

Result<void> prepare_schema(Database& database) {
  std::int64_t const version = TRY(version_of(database));
  if (version == kVersion) return {};
  if (version != 0) {
    return Error(
        Errc::kConflict,
        fmt::format("state.db has version {}, this program knows {}: it was written by a newer Davit; use that one, or "
                    "another data root",
                    version, kVersion));
  }
  Transaction transaction = TRY(Transaction::begin(database));
  TRY(database.execute(kTables));
  TRY(database.execute(fmt::format("PRAGMA user_version={}", kVersion)));
  return transaction.commit();
}

}  // namespace davit::store
