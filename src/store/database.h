// SQLite, thinly: a connection, statements with typed binding, transactions. Errors carry SQLite's text; a full disk is
// kResourceExhausted, a damaged file kInternal with what to do. A Database is used by one thread at a time (its owner
// locks).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace davit::store {

class Database;

// A prepared statement: bind in order, then step. Compiled for each use, which takes microseconds.
class [[nodiscard]] Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  Statement& bind(std::string_view text);
  Statement& bind(std::int64_t number);
  Statement& bind(std::uint64_t number) { return bind(static_cast<std::int64_t>(number)); }
  Statement& bind_or_null(std::optional<std::string> const& text);
  // true: a row is there; false: done.
  Result<bool> step();
  // Runs a statement that gives no rows, and makes it ready for other values.
  Result<void> run();
  void reset();  // ready for other values

  std::string text(int column) const;  // "" for NULL
  std::int64_t number(int column) const;
  std::uint64_t size(int column) const { return static_cast<std::uint64_t>(number(column)); }
  bool is_null(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* connection, sqlite3_stmt* statement) : connection_(connection), statement_(statement) {}
  void bound(int code);

  sqlite3* connection_;
  sqlite3_stmt* statement_;
  int next_ = 1;
  int bind_error_ = 0;
};

class Database {
 public:
  enum class Access { kReadWrite, kReadOnly };
  // Creates the file when it is missing (kReadWrite). WAL; a commit is on the disk when it returns (synchronous=FULL).
  static Result<Database> open(std::string const& path, Access access);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  Result<Statement> prepare(std::string_view sql);
  // One or several statements without values.
  Result<void> execute(std::string const& sql);
  // Gives back cached pages: after work that nothing like follows.
  void release_memory();
  // How many rows the last statement changed.
  std::int64_t changes() const;

 private:
  explicit Database(sqlite3* connection) : connection_(connection) {}
  sqlite3* connection_;
};

// BEGIN IMMEDIATE now, ROLLBACK at the end unless committed.
class [[nodiscard]] Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(other.database_) { other.database_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}
  Database* database_;
};

}  // namespace davit::store
