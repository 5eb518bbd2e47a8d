// Leases, and the collection of what nothing uses.
#include <fmt/format.h>

#include <set>

#include "store/store.h"
#include "store/store_body.h"
#include "sys/durable.h"
#include "sys/file.h"

namespace davit::store {
namespace {

// Adds the words of two columns (layers, blobs) of every row.
Result<void> add_used(Statement& statement, std::set<std::string>& used) {
  for (;;) {
    bool const more = TRY(statement.step());
    if (!more) return {};
    for (int column : {0, 1}) {
      for (std::string& word : split_words(statement.text(column))) used.insert(std::move(word));
    }
  }
}

Result<std::set<std::string>> used_by_tables(Database& database, std::int64_t now) {
  std::set<std::string> used;
  Statement images = TRY(database.prepare("SELECT layers, blobs FROM image"));
  TRY(add_used(images, used));
  Statement leases = TRY(database.prepare("SELECT layers, blobs FROM lease WHERE expires_ns=0 OR expires_ns>?"));
  leases.bind(now);
  TRY(add_used(leases, used));
  return used;
}

struct Unused {
  std::vector<std::pair<std::string, std::string>> layers;  // id, diff-id
  std::vector<std::string> blobs;
  std::uint64_t bytes = 0;
};

Result<Unused> find_unused(Database& database, std::set<std::string> const& used,
                           std::map<std::string, int> const& pins, std::int64_t now) {
  Unused unused;
  Statement layers = TRY(database.prepare("SELECT id, diff_id, disk_bytes FROM layer WHERE kept_until_ns<=?"));
  layers.bind(now);
  for (;;) {
    bool const more = TRY(layers.step());
    if (!more) break;
    std::string id = layers.text(0);
    if (used.contains(id) || pins.contains(layer_pin(id))) continue;
    unused.bytes += layers.size(2);
    unused.layers.emplace_back(std::move(id), layers.text(1));
  }
  Statement blobs = TRY(database.prepare("SELECT digest, size FROM blob WHERE kept_until_ns<=?"));
  blobs.bind(now);
  for (;;) {
    bool const more = TRY(blobs.step());
    if (!more) return unused;
    std::string digest = blobs.text(0);
    if (used.contains(digest) || pins.contains("blob " + digest)) continue;
    unused.bytes += blobs.size(1);
    unused.blobs.push_back(std::move(digest));
  }
}

Result<void> delete_rows(Database& database, Unused const& unused, std::int64_t now) {
  Transaction transaction = TRY(Transaction::begin(database));
  Statement layer = TRY(database.prepare("DELETE FROM layer WHERE id=?"));
  for (auto const& [id, diff_id] : unused.layers) TRY(layer.bind(id).run());
  Statement blob = TRY(database.prepare("DELETE FROM blob WHERE digest=?"));
  Statement source = TRY(database.prepare("DELETE FROM source WHERE blob=?"));
  for (std::string const& digest : unused.blobs) {
    TRY(blob.bind(digest).run());
    TRY(source.bind(digest).run());
  }
  TRY(database.execute("DELETE FROM form WHERE diff_id NOT IN (SELECT diff_id FROM layer)"));
  Statement lease = TRY(database.prepare("DELETE FROM lease WHERE expires_ns<>0 AND expires_ns<=?"));
  TRY(lease.bind(now).run());
  return transaction.commit();
}

}  // namespace

Result<void> Store::add_lease(std::string const& lease, std::vector<std::string> const& layers,
                              std::vector<oci::Digest> const& blobs, std::int64_t expires_ns) {
  return body_->writer.with([&](Database& database) -> Result<void> {
    Transaction transaction = TRY(Transaction::begin(database));
    for (std::string const& id : layers) {
      Statement known = TRY(database.prepare("SELECT 1 FROM layer WHERE id=?"));
      bool const found = TRY(known.bind(id).step());
      if (!found) return Error(Errc::kNotFound, fmt::format("lease '{}': no such layer: {}", lease, id));
    }
    Statement statement = TRY(database.prepare("INSERT OR REPLACE INTO lease VALUES(?,?,?,?)"));
    TRY(statement.bind(lease).bind(expires_ns).bind(join(layers)).bind(join_digests(blobs)).run());
    return transaction.commit();
  });
}

Result<void> Store::remove_lease(std::string const& lease) {
  return body_->writer.with([&](Database& database) -> Result<void> {
    Statement statement = TRY(database.prepare("DELETE FROM lease WHERE id=?"));
    return statement.bind(lease).run();
  });
}

Result<Collected> Store::collect() {
  std::int64_t const now = body_->now();
  Result<Unused> taken = body_->writer.with([&](Database& database) {
    // The pins stay locked over the commit: whoever pins meanwhile waits, and then finds the row gone.
    return body_->pins.with([&](auto& pins) -> Result<Unused> {
      std::set<std::string> const used = TRY(used_by_tables(database, now));
      Unused found = TRY(find_unused(database, used, pins, now));
      if (found.layers.empty() && found.blobs.empty()) return found;
      TRY(delete_rows(database, found, now));
      // Out of the way under the lock, so that a pull that makes the same layer again finds its place empty.
      for (auto const& [id, diff_id] : found.layers) TRY(body_->to_trash(body_->layers.get(), id));
      for (std::string const& digest : found.blobs) TRY(body_->to_trash(body_->blobs.get(), digest.substr(7)));
      return found;
    });
  });
  Unused const unused = TRY(std::move(taken));
  TRY(empty_trash());
  Collected collected{.layers = {}, .blobs = {}, .freed_bytes = unused.bytes};
  for (auto const& [id, diff_id] : unused.layers) {
    oci::Digest digest = TRY(stored_digest(diff_id));
    collected.layers.push_back(std::move(digest));
  }
  for (std::string const& text : unused.blobs) {
    oci::Digest digest = TRY(stored_digest(text));
    collected.blobs.push_back(std::move(digest));
  }
  return collected;
}

}  // namespace davit::store
