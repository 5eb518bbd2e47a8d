// Opening a store, what it holds in its hand (pins), and its trash.
#include "store/store.h"

#include <fmt/format.h>

#include <chrono>
#include <mutex>
#include <set>

#include "store/store_body.h"
#include "sys/durable.h"
#include "sys/file.h"
#include "sys/file_change.h"
#include "sys/tree.h"

namespace davit::store {
namespace {

// A deletion's pages in the write-ahead log, with room for a collection of hundreds of rows.
constexpr std::uint64_t kReserveBytes = 1 << 20;

std::int64_t system_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<UniqueFd> open_folder(std::string const& path) {
  TRY(sys::mkdir_all(path, 0700));
  return sys::open(path, O_RDONLY | O_DIRECTORY);
}

Result<std::set<std::string>> column(Database& database, std::string_view sql) {
  Statement statement = TRY(database.prepare(sql));
  std::set<std::string> values;
  for (;;) {
    bool const more = TRY(statement.step());
    if (!more) return values;
    values.insert(statement.text(0));
  }
}

Result<void> delete_row(Database& database, std::string_view sql, std::string const& key) {
  Statement statement = TRY(database.prepare(sql));
  return statement.bind(key).run();
}

bool all_present(std::string_view words, std::set<std::string> const& present) {
  for (std::string const& word : split_words(words)) {
    if (!present.contains(word)) return false;
  }
  return true;
}

// An image needs all of its layers and blobs.
Result<void> drop_incomplete_images(Database& database, std::set<std::string> const& present, OpenReport& report) {
  {
    Statement statement = TRY(database.prepare("SELECT id, layers, blobs FROM image"));
    for (;;) {
      bool const more = TRY(statement.step());
      if (!more) break;
      bool const whole = all_present(statement.text(1), present) && all_present(statement.text(2), present);
      if (!whole) report.lost_images.push_back(statement.text(0));
    }
  }
  for (std::string const& id : report.lost_images) {
    TRY(delete_row(database, "DELETE FROM tag WHERE image=?", id));
    TRY(delete_row(database, "DELETE FROM repo_digest WHERE image=?", id));
    TRY(delete_row(database, "DELETE FROM image WHERE id=?", id));
  }
  return {};
}

// What folder and table have in common is added to present, what only the table has to lost, and what only the folder
// has goes to the trash. Returns how much that was.
Result<std::uint64_t> compare(Store::Body& body, int folder, std::set<std::string> rows, std::string const& prefix,
                              std::set<std::string>& present, std::set<std::string>& lost) {
  std::uint64_t unknown = 0;
  std::vector<std::string> const names = TRY(sys::list_directory(folder));
  for (std::string const& name : names) {
    auto row = rows.extract(prefix + name);
    if (row) {
      present.insert(std::move(row));
    } else {
      TRY(body.to_trash(folder, name));
      ++unknown;
    }
  }
  lost.merge(rows);
  return unknown;
}

}  // namespace

Result<OpenReport> sweep(Store::Body& body, Database& database) {
  OpenReport report;
  std::set<std::string> present, lost;
  std::set<std::string> layers = TRY(column(database, "SELECT id FROM layer"));
  report.swept_layers = TRY(compare(body, body.layers.get(), std::move(layers), "", present, lost));
  std::set<std::string> blobs = TRY(column(database, "SELECT digest FROM blob"));
  report.swept_blobs = TRY(compare(body, body.blobs.get(), std::move(blobs), "sha256:", present, lost));
  std::vector<std::string> const unfinished = TRY(sys::list_directory(body.tmp.get()));
  for (std::string const& name : unfinished) TRY(body.to_trash(body.tmp.get(), name));
  Transaction transaction = TRY(Transaction::begin(database));
  TRY(drop_incomplete_images(database, present, report));
  for (std::string const& key : lost) {
    TRY(delete_row(database, "DELETE FROM layer WHERE id=?", key));
    TRY(delete_row(database, "DELETE FROM blob WHERE digest=?", key));
  }
  if (!lost.empty()) TRY(forget_orphans(database, body.now()));
  TRY(transaction.commit());
  database.release_memory();
  return report;
}

Result<void> Store::Body::to_trash(int dir, std::string const& name) {
  // The names of several processes after one another meet in the trash: the time keeps them apart.
  std::string const target = fmt::format("{}-{}", system_now_ns(), next_name++);
  return sys::rename_at(dir, name, trash.get(), target, sys::Existing::kKeep);
}

void Store::Body::make_reserve() {
  // Best effort: without it only a full disk is harder to clean.
  Result<UniqueFd> const file = sys::openat(root.get(), "reserve", O_WRONLY | O_CREAT, 0600);
  if (file) (void)sys::reserve_space(file->get(), 0, kReserveBytes).ok();
}

bool Store::Body::drop_reserve() { return sys::unlink_at(root.get(), "reserve").ok(); }

Result<std::unique_ptr<Store>> Store::open(StoreOptions options) {
  Result<std::unique_ptr<Store>> store = open_once(options);
  if (store || store.error().code() != Errc::kResourceExhausted) return store;
  // SQLite takes a few pages even to read: on a full disk they come from the reserve, so that something can be deleted.
  UniqueFd const root = TRY(sys::open(options.root, O_RDONLY | O_DIRECTORY));
  if (!sys::unlink_at(root.get(), "reserve")) return store;
  return open_once(std::move(options));
}

Result<std::unique_ptr<Store>> Store::open_once(StoreOptions options) {
  if (!options.now_ns) options.now_ns = system_now_ns;
  std::string const path = options.root;
  auto const context = [&] { return fmt::format("open the image store '{}'", path); };
  UniqueFd root = TRY_CTX(open_folder(path), context());
  UniqueFd lock = TRY_CTX(sys::openat(root.get(), "lock", O_RDWR | O_CREAT, 0600), context());
  Result<void> const locked = sys::lock_file(lock.get());
  if (!locked) {
    if (locked.error().code() != Errc::kConflict)
      return Error(locked.error().code(), context(), locked.error().error_number());
    return Error(Errc::kConflict,
                 fmt::format("{}: another process has it open; stop it, or use another data root", context()));
  }
  Database writer = TRY_CTX(Database::open(path + "/state.db", Database::Access::kReadWrite), context());
  TRY_CTX(prepare_schema(writer), context());
  Database reader = TRY_CTX(Database::open(path + "/state.db", Database::Access::kReadOnly), context());
  auto body = std::make_unique<Body>(std::move(options), std::move(writer), std::move(reader));
  body->root = std::move(root);
  body->lock = std::move(lock);
  body->blobs = TRY_CTX(open_folder(path + "/blobs/sha256"), context());
  body->layers = TRY_CTX(open_folder(path + "/layers"), context());
  body->ingest = TRY_CTX(open_folder(path + "/ingest"), context());
  body->tmp = TRY_CTX(open_folder(path + "/tmp"), context());
  body->trash = TRY_CTX(open_folder(path + "/trash"), context());
  Body& inside = *body;
  body->report = TRY_CTX(body->writer.with([&](Database& database) { return sweep(inside, database); }), context());
  body->make_reserve();
  return std::unique_ptr<Store>(new Store(std::move(body)));
}

Store::Store(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Store::~Store() = default;
OpenReport const& Store::open_report() const { return body_->report; }
int Store::root() const { return body_->root.get(); }
std::string const& Store::path() const { return body_->options.root; }
Result<UniqueFd> Store::reopen_root() const { return sys::open(path(), O_RDONLY | O_DIRECTORY); }
void Store::note_written(std::uint64_t bytes) { body_->written += bytes; }
std::uint64_t Store::bytes_written() const { return body_->written; }

Result<void> Store::empty_trash() {
  std::lock_guard const alone(body_->emptying);
  std::vector<std::string> const names = TRY(sys::list_directory(body_->trash.get()));
  Result<void> result;
  for (std::string const& name : names) {
    // One that cannot be removed must not keep the others.
    Result<void> removed = sys::remove_at(body_->trash.get(), name);
    if (!removed && result) result = std::move(removed);
  }
  return result;
}

Pin Store::hold(std::string key) {
  body_->pins.with([&](auto& pins) { ++pins[key]; });
  return Pin(this, std::move(key));
}

Pin::Pin(Pin&& other) noexcept : store_(std::exchange(other.store_, nullptr)), key_(std::move(other.key_)) {}

Pin& Pin::operator=(Pin&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(key_, other.key_);
  return *this;
}

Pin::~Pin() {
  if (store_ == nullptr) return;
  store_->body_->pins.with([&](auto& pins) {
    auto const found = pins.find(key_);
    if (found != pins.end() && --found->second == 0) pins.erase(found);
  });
}

}  // namespace davit::store
