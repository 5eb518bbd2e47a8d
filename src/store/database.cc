#include "store/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <utility>

namespace davit::store {
namespace {

// The WAL is copied into the database after this many pages, so that it does not grow without bound.
constexpr int kCheckpointPages = 1000;
constexpr int kBusyMilliseconds = 10000;
// Of each connection; the kernel caches the file.
constexpr int kCacheKibibytes = 512;

Error sqlite_error(sqlite3* connection, int code, std::string_view what) {
  char const* const text = connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Error(Errc::kResourceExhausted, fmt::format("{}: no space left for the database: {}", what, text), ENOSPC);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Errc::kInternal,
                   fmt::format("{}: the database is damaged: {}; move state.db away and start again, images are "
                               "then pulled anew",
                               what, text));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(Errc::kUnavailable, fmt::format("{}: {}", what, text), EBUSY);
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return Error(Errc::kPermissionDenied, fmt::format("{}: {}", what, text), EACCES);
    case SQLITE_CONSTRAINT:
      return Error(code == SQLITE_CONSTRAINT_FOREIGNKEY ? Errc::kNotFound : Errc::kConflict,
                   fmt::format("{}: {}", what, text));
    default: {
      // SQLITE_IOERR: the system call says more (a quota, a device that went away).
      int const number = connection != nullptr && (code & 0xff) == SQLITE_IOERR ? sqlite3_system_errno(connection) : 0;
      if (number != 0) return Error::from_errno(number, fmt::format("{}: {}", what, text));
      return Error(Errc::kInternal, fmt::format("{}: {}", what, text));
    }
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      next_(other.next_),
      bind_error_(other.bind_error_) {}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::bound(int code) {
  if (code != SQLITE_OK && bind_error_ == SQLITE_OK) bind_error_ = code;
  ++next_;
}

Statement& Statement::bind(std::string_view text) {
  // SQLITE_TRANSIENT (a cast of -1 in SQLite's header): SQLite copies, so callers may bind temporaries.
  bound(sqlite3_bind_text64(statement_, next_, text.data() == nullptr ? "" : text.data(), text.size(),
                            reinterpret_cast<sqlite3_destructor_type>(-1), SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind(std::int64_t number) {
  bound(sqlite3_bind_int64(statement_, next_, number));
  return *this;
}

Statement& Statement::bind_or_null(std::optional<std::string> const& text) {
  if (text) return bind(std::string_view(*text));
  bound(sqlite3_bind_null(statement_, next_));
  return *this;
}

Result<bool> Statement::step() {
  if (bind_error_ != SQLITE_OK) return sqlite_error(connection_, bind_error_, "bind a value");
  int const code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sqlite_error(connection_, code, sqlite3_sql(statement_));
}

Result<void> Statement::run() {
  Result<bool> const stepped = step();
  reset();
  if (!stepped) return Error(stepped.error().code(), stepped.error().message(), stepped.error().error_number());
  return {};
}

void Statement::reset() {
  sqlite3_reset(statement_);
  next_ = 1;
  bind_error_ = SQLITE_OK;
}

std::string Statement::text(int column) const {
  auto const* const bytes = static_cast<char const*>(sqlite3_column_blob(statement_, column));
  int const size = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? std::string() : std::string(bytes, static_cast<std::size_t>(size));
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_, column); }

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Result<Database> Database::open(std::string const& path, Access access) {
  sqlite3* connection = nullptr;
  int const flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (access == Access::kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
  int const code = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr);
  Database database(connection);
  if (code != SQLITE_OK) return sqlite_error(connection, code, fmt::format("open {}", path));
  sqlite3_busy_timeout(connection, kBusyMilliseconds);
  TRY_CTX(database.execute(fmt::format("PRAGMA cache_size=-{}", kCacheKibibytes)), fmt::format("open {}", path));
  if (access == Access::kReadWrite) {
    TRY_CTX(database.execute(fmt::format("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                                         "PRAGMA wal_autocheckpoint={}",
                                         kCheckpointPages)),
            fmt::format("open {}", path));
  }
  return database;
}

Database::Database(Database&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}

Database& Database::operator=(Database&& other) noexcept {
  std::swap(connection_, other.connection_);
  return *this;
}

Database::~Database() { sqlite3_close_v2(connection_); }

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int const code = sqlite3_prepare_v2(connection_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return sqlite_error(connection_, code, sql);
  return Statement(connection_, statement);
}

Result<void> Database::execute(std::string const& sql) {
  int const code = sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite_error(connection_, code, sql);
  return {};
}

void Database::release_memory() { sqlite3_db_release_memory(connection_); }

std::int64_t Database::changes() const { return sqlite3_changes64(connection_); }

Result<Transaction> Transaction::begin(Database& database) {
  TRY(database.execute("BEGIN IMMEDIATE"));
  return Transaction(&database);
}

Transaction::~Transaction() {
  // A failed ROLLBACK means that SQLite has rolled back already (as after SQLITE_FULL).
  if (database_ != nullptr) (void)database_->execute("ROLLBACK").ok();
}

Result<void> Transaction::commit() {
  TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace davit::store
