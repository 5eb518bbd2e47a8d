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

Result<bool> has_expired_lease(Database& database, std::int64_t now) {
  Statement lease = TRY(database.prepare("SELECT 1 FROM lease WHERE expires_ns<>0 AND expires_ns<=?"));
  return lease.bind(now).step();
}

Result<void> delete_rows(Database& database, Unused const& unused, std::int64_t now) {
  Transaction transaction = TRY(Transaction::begin(database));
  Statement layer = TRY(database.prepare("DELETE FROM layer WHERE id=?"));
  for (auto const& [id, diff_id] : unused.layers) TRY(layer.bind(id).run());
  Statement blob = TRY(database.prepare("DELETE FROM blob WHERE digest=?"));
  for (std::string const& digest : unused.blobs) TRY(blob.bind(digest).run());
  TRY(forget_orphans(database, now));
  return transaction.commit();
}

// Out of the way under the locks, so that a pull that makes the same layer again finds its place empty. What cannot be
// moved has no row any more: it is swept at the next open.
Result<void> move_away(Store::Body& body, Unused const& unused) {
  Result<void> result;
  auto const move = [&](int folder, std::string const& name) {
    Result<void> moved = body.to_trash(folder, name);
    if (!moved && result) result = std::move(moved);
  };
  for (auto const& [id, diff_id] : unused.layers) move(body.layers.get(), id);
  for (std::string const& digest : unused.blobs) move(body.blobs.get(), digest.substr(7));
  return result;
}

Result<Unused> take_unused(Store::Body& body, Database& database, std::int64_t now) {
  // The pins stay locked over the commit: whoever pins meanwhile waits, and then finds the row gone.
  return body.pins.with([&](auto& pins) -> Result<Unused> {
    std::set<std::string> const used = TRY(used_by_tables(database, now));
    Unused found = TRY(find_unused(database, used, pins, now));
    bool const expired = TRY(has_expired_lease(database, now));
    if (found.layers.empty() && found.blobs.empty() && !expired) return found;
    TRY(delete_rows(database, found, now));
    TRY(move_away(body, found));
    return found;
  });
}

Result<void> must_exist(Database& database, std::string_view sql, std::string const& key, std::string const& lease) {
  Statement known = TRY(database.prepare(sql));
  bool const found = TRY(known.bind(key).step());
  if (!found) return Error(Errc::kNotFound, fmt::format("lease '{}': the store has no {}", lease, key));
  return {};
}

}  // namespace

Result<void> forget_orphans(Database& database, std::int64_t now) {
  TRY(database.execute("DELETE FROM form WHERE diff_id NOT IN (SELECT diff_id FROM layer)"));
  // A layer's blob that is not kept is still known to be somewhere as long as the layer is here.
  TRY(
      database.execute("DELETE FROM source WHERE blob NOT IN (SELECT digest FROM blob) AND "
                       "blob NOT IN (SELECT blob FROM form)"));
  Statement lease = TRY(database.prepare("DELETE FROM lease WHERE expires_ns<>0 AND expires_ns<=?"));
  return lease.bind(now).run();
}

Result<void> Store::add_lease(std::string const& lease, std::vector<std::string> const& layers,
                              std::vector<oci::Digest> const& blobs, std::int64_t expires_ns) {
  return body_->writer.with([&](Database& database) -> Result<void> {
    Transaction transaction = TRY(Transaction::begin(database));
    for (std::string const& id : layers) TRY(must_exist(database, "SELECT 1 FROM layer WHERE id=?", id, lease));
    for (oci::Digest const& blob : blobs) {
      TRY(must_exist(database, "SELECT 1 FROM blob WHERE digest=?", blob.text(), lease));
    }
    Statement statement = TRY(database.prepare("INSERT OR REPLACE INTO lease VALUES(?,?,?,?)"));
    TRY(statement.bind(lease).bind(expires_ns).bind(join(layers)).bind(join_digests(blobs)).run());
    return transaction.commit();
  });
}

Result<void> Store::remove_lease(std::string const& lease) {
  return body_->free_space([&](Database& database) -> Result<void> {
    Statement statement = TRY(database.prepare("DELETE FROM lease WHERE id=?"));
    return statement.bind(lease).run();
  });
}

Result<Collected> Store::collect() {
  std::int64_t const now = body_->now();
  Result<Unused> taken = body_->free_space([&](Database& database) { return take_unused(*body_, database, now); });
  Unused const unused = TRY(std::move(taken));
  TRY(empty_trash());
  body_->make_reserve();
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
