#include "store/database.h"

#include <gtest/gtest.h>

#include "store/testing/sample.h"

namespace davit::store {
namespace {

using testing::code_of;

class DatabaseTest : public ::testing::Test {
 protected:
  std::string path() const { return dir_ / "test.db"; }
  Database open(Database::Access access = Database::Access::kReadWrite) {
    Result<Database> database = Database::open(path(), access);
    EXPECT_TRUE(database.ok()) << (database ? "" : database.error().to_string());
    return std::move(*database);
  }
  static std::string ask(Database& database, std::string_view sql) {
    Statement statement = database.prepare(sql).value();
    return statement.step().value() ? statement.text(0) : "none";
  }
  sys::testing::TempDir dir_{testing::temp_parent()};
};

TEST_F(DatabaseTest, UsesAWriteAheadLogThatIsSyncedAtEachCommit) {
  Database database = open();
  EXPECT_EQ(ask(database, "PRAGMA journal_mode"), "wal");
  EXPECT_EQ(ask(database, "PRAGMA synchronous"), "2");  // FULL
  EXPECT_EQ(ask(database, "PRAGMA foreign_keys"), "1");
}

TEST_F(DatabaseTest, GivesBackWhatWasBound) {
  Database database = open();
  EXPECT_OK(database.execute("CREATE TABLE t(a TEXT, b INTEGER, c TEXT, d TEXT)"));
  Statement insert = database.prepare("INSERT INTO t VALUES(?,?,?,?)").value();
  std::string const with_zero("x\0y", 3);
  EXPECT_OK(insert.bind(with_zero).bind(std::int64_t{-5}).bind_or_null(std::nullopt).bind(std::string_view()).run());
  EXPECT_EQ(database.changes(), 1);
  Statement select = database.prepare("SELECT a, b, c, d FROM t").value();
  ASSERT_TRUE(select.step().value());
  EXPECT_EQ(select.text(0), with_zero);
  EXPECT_EQ(select.number(1), -5);
  EXPECT_TRUE(select.is_null(2));
  EXPECT_EQ(select.text(2), "");
  EXPECT_FALSE(select.is_null(3));
  EXPECT_FALSE(select.step().value());
}

TEST_F(DatabaseTest, ReusesAStatementAcrossTransactions) {
  Database database = open();
  EXPECT_OK(database.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)"));
  Statement insert = database.prepare("INSERT INTO t VALUES(?)").value();
  for (std::int64_t round = 0; round < 3; ++round) {
    Transaction transaction = Transaction::begin(database).value();
    EXPECT_OK(insert.bind(round).run());
    EXPECT_OK(transaction.commit());
  }
  EXPECT_EQ(code_of(insert.bind(std::int64_t{1}).run()), Errc::kConflict);  // there already
  EXPECT_OK(insert.bind(std::int64_t{7}).run());                            // as if nothing had been
  EXPECT_EQ(ask(database, "SELECT count(*) FROM t"), "4");
}

TEST_F(DatabaseTest, RollsATransactionBackUnlessItIsCommitted) {
  Database database = open();
  EXPECT_OK(database.execute("CREATE TABLE t(a)"));
  {
    Transaction transaction = Transaction::begin(database).value();
    EXPECT_OK(database.execute("INSERT INTO t VALUES(1)"));
  }
  EXPECT_EQ(ask(database, "SELECT count(*) FROM t"), "0");
  Transaction again = Transaction::begin(database).value();
  EXPECT_OK(again.commit());
}

TEST_F(DatabaseTest, AReaderSeesWhatIsCommittedAndNothingElse) {
  Database writer = open();
  EXPECT_OK(writer.execute("CREATE TABLE t(a)"));
  Database reader = open(Database::Access::kReadOnly);
  Transaction transaction = Transaction::begin(writer).value();
  EXPECT_OK(writer.execute("INSERT INTO t VALUES(1)"));
  EXPECT_EQ(ask(reader, "SELECT count(*) FROM t"), "0");
  EXPECT_OK(transaction.commit());
  EXPECT_EQ(ask(reader, "SELECT count(*) FROM t"), "1");
  EXPECT_EQ(code_of(reader.execute("INSERT INTO t VALUES(2)")), Errc::kPermissionDenied);
}

TEST_F(DatabaseTest, SaysWhatAFailureMeans) {
  Database database = open();
  EXPECT_OK(database.execute("CREATE TABLE p(a PRIMARY KEY); CREATE TABLE t(a REFERENCES p(a))"));
  EXPECT_EQ(code_of(database.execute("INSERT INTO t VALUES('nobody')")), Errc::kNotFound);
  EXPECT_EQ(code_of(database.execute("SELECT nonsense")), Errc::kInternal);
  EXPECT_FALSE(database.prepare("SELECT nonsense").ok());
  Database other = open();
  EXPECT_OK(other.execute("PRAGMA busy_timeout=1"));
  Transaction transaction = Transaction::begin(database).value();
  EXPECT_EQ(code_of(Transaction::begin(other)), Errc::kUnavailable);
}

TEST_F(DatabaseTest, IsUsableAfterItWasFull) {
  Database database = open();
  EXPECT_OK(database.execute("CREATE TABLE t(a)"));
  EXPECT_OK(database.execute("PRAGMA max_page_count=10"));
  {
    Transaction transaction = Transaction::begin(database).value();
    Result<void> const full = database.execute("INSERT INTO t VALUES(zeroblob(100000))");
    ASSERT_EQ(code_of(full), Errc::kResourceExhausted);
    EXPECT_EQ(full.error().error_number(), ENOSPC);
  }
  EXPECT_OK(database.execute("INSERT INTO t VALUES(1)"));
  EXPECT_EQ(ask(database, "SELECT count(*) FROM t"), "1");
}

TEST_F(DatabaseTest, RefusesAFileThatIsNone) {
  UniqueFd const file = sys::open(path(), O_WRONLY | O_CREAT, 0600).value();
  EXPECT_OK(sys::write_all(file.get(), std::string(8192, 'x')));
  EXPECT_EQ(code_of(Database::open(path(), Database::Access::kReadWrite)), Errc::kInternal);
  EXPECT_EQ(code_of(Database::open(dir_ / "missing/test.db", Database::Access::kReadWrite)), Errc::kPermissionDenied);
}

}  // namespace
}  // namespace davit::store
