// The inside of Store, shared by its .cc files.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "store/database.h"
#include "store/store.h"

namespace davit::store {

struct Store::Body {
  Body(StoreOptions store_options, Database write_connection, Database read_connection)
      : options(std::move(store_options)), writer(std::move(write_connection)), reader(std::move(read_connection)) {}

  StoreOptions options;
  UniqueFd root, lock, blobs, layers, ingest, tmp, trash;
  OpenReport report;
  // Rows are changed through writer and asked for through reader, so that a listing never waits for a commit's fsync.
  Guarded<Database> writer;
  Guarded<Database> reader;
  // What is pinned, and how often: "layer <id>", "blob <digest>". Held during a collection's commit, so that a pin is
  // either seen by the collection or finds the row gone. Locked after writer, never before.
  Guarded<std::map<std::string, int>> pins;
  // Held by one publish from its first rename to its commit: two that bring the same layer never see each other's
  // half. The names of staged layers and ingests change under it. Locked before every other lock.
  std::mutex publishing;
  // Held while the trash is emptied, so that two do not remove the same tree.
  std::mutex emptying;
  // Names in ingest/ that somebody writes now. Locked last.
  Guarded<std::map<std::string, int>> writing;
  std::atomic<std::uint64_t> next_name{1};
  std::atomic<std::uint64_t> written{0};

  std::int64_t now() const { return options.now_ns(); }
  std::string new_name() { return std::to_string(next_name++); }
  // Moves an entry of one of the folders out of the way; empty_trash() deletes it.
  Result<void> to_trash(int dir, std::string const& name);
  // Deleting rows takes space too. The reserve is a file that is given up when a deletion finds the disk full, and
  // made again when there is room.
  void make_reserve();
  bool drop_reserve();
  // Runs deletion(Database&) with the writer; a second time when the reserve could be given up for it.
  template <typename Deletion>
  auto free_space(Deletion const& deletion) {
    auto result = writer.with(deletion);
    if (result || result.error().code() != Errc::kResourceExhausted || !drop_reserve()) return result;
    return writer.with(deletion);
  }
};

// Deletes what tells of content that is not there: forms of layers, sources of blobs, expired leases.
Result<void> forget_orphans(Database& database, std::int64_t now);

std::string layer_pin(std::string const& id);
std::string blob_pin(oci::Digest const& digest);

// Tables of this version are made when the file is new; an older version's are converted; a newer one is refused.
Result<void> prepare_schema(Database& database);
// Moves to the trash what has no row, and drops the rows of what has no files.
Result<OpenReport> sweep(Store::Body& body, Database& database);

// Texts of several ids in one column.
std::string join(std::vector<std::string> const& parts);
std::vector<std::string> split_words(std::string_view text);
std::string join_digests(std::vector<oci::Digest> const& digests);
// Digests that the store wrote itself: a row that holds anything else is damage, kInternal.
Result<oci::Digest> stored_digest(std::string_view text);
Result<std::vector<oci::Digest>> stored_digests(std::string_view text);

}  // namespace davit::store
