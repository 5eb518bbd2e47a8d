// Writing and reading of every log format, rotation, damage.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "monitor/log/gzip_file.h"
#include "monitor/log/json_text.h"
#include "monitor/log/reader.h"
#include "monitor/log/timestamp.h"
#include "monitor/log/writer.h"
#include "sys/file.h"

namespace davit::monitor::log {
namespace {

constexpr std::int64_t kTime = 1'795'292'177'418'311'554;  // 2026-11-21T20:16:17.418311554Z

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/davit-log-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDir() { (void)sys::remove_tree(path_); }
  std::string operator/(std::string const& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string slurp(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void spill(std::string const& path, std::string const& data) { std::ofstream(path, std::ios::binary) << data; }

LogOptions options(std::string const& driver, std::string const& path, KeyValues const& values = {}) {
  return parse_log_options(driver, path, values).value();
}

std::string all_text(Driver driver, std::string const& path, std::optional<std::uint64_t> tail = {}) {
  LogReader reader = LogReader::open({.driver = driver, .path = path, .tail = tail}).value();
  std::string text;
  while (auto entry = reader.next().value()) text += entry->text;
  return text;
}

// ---- times

struct TimeCase {
  char const* name;
  std::int64_t nanos;
  char const* fixed;
  char const* shortest;
};
class Times : public testing::TestWithParam<TimeCase> {};
TEST_P(Times, PrintsAndParses) {
  auto const& c = GetParam();
  EXPECT_EQ(TimeText(c.nanos, Fraction::kFixed).view(), c.fixed);
  EXPECT_EQ(TimeText(c.nanos, Fraction::kShortest).view(), c.shortest);
  EXPECT_EQ(parse_time(c.fixed), c.nanos);
  EXPECT_EQ(parse_time(c.shortest), c.nanos);
}
INSTANTIATE_TEST_SUITE_P(Table, Times,
                         testing::Values(TimeCase{"epoch", 0, "1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:00Z"},
                                         TimeCase{"now", kTime, "2026-11-21T20:16:17.418311554Z",
                                                  "2026-11-21T20:16:17.418311554Z"},
                                         TimeCase{"leap_day", 1'709'164'800'500'000'000,
                                                  "2024-02-29T00:00:00.500000000Z", "2024-02-29T00:00:00.5Z"},
                                         TimeCase{"century", 4'107'542'399'000'000'001,
                                                  "2100-02-28T23:59:59.000000001Z", "2100-02-28T23:59:59.000000001Z"}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(Time, TakesOffsetsAndRefusesRubbish) {
  EXPECT_EQ(parse_time("1970-01-01T02:00:00+02:00"), 0);
  for (char const* bad : {"", "1970", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z",
                          "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00Zx", "9999-01-01T00:00:00Z"}) {
    EXPECT_EQ(parse_time(bad), std::nullopt) << bad;
  }
}

// ---- escaping: the expected bytes were written by dockerd 28.5 for the same output

struct EscapeCase {
  char const* name;
  std::string raw, escaped;
};
class Escapes : public testing::TestWithParam<EscapeCase> {};
TEST_P(Escapes, AsDockerDoes) {
  for (std::size_t padding : {0, 1, 15, 16, 17, 40}) {  // every position within a vector
    Buffer out;
    std::string const pad(padding, '.');
    append_json_escaped(out, pad + GetParam().raw + pad);
    EXPECT_EQ(out.view(), pad + GetParam().escaped + pad);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Table, Escapes,
    testing::Values(EscapeCase{"plain", "plain", "plain"},
                    EscapeCase{"controls", "\t\x01\x1f\b\f\x7f", "\\u0009\\u0001\\u001f\\u0008\\u000c\x7f"},
                    EscapeCase{"quotes", "\"q\" \\", "\\\"q\\\" \\\\"}, EscapeCase{"newlines", "\r\n", "\\r\\n"},
                    EscapeCase{"html", "<a>&b", "\\u003ca\\u003e\\u0026b"},
                    EscapeCase{"two_bytes", "\xc3\xa9", "\xc3\xa9"},
                    EscapeCase{"separators", "\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
                    EscapeCase{"invalid", "\xff\xfe", "\\ufffd\\ufffd"},
                    EscapeCase{"surrogate", "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
                    EscapeCase{"overlong", "\xc0\x80", "\\ufffd\\ufffd"},
                    EscapeCase{"cut", "\xf0\x9f\x98", "\\ufffd\\ufffd\\ufffd"},
                    EscapeCase{"emoji", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
                    EscapeCase{"nul", std::string("\0", 1), "\\u0000"}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(JsonText, ReadsBackEveryByteOfValidText) {
  std::string const raw = "a\t\"\\<>&\r\n\x7f\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80";
  Buffer out;
  out.append("\"");
  append_json_escaped(out, raw);
  out.append("\"rest");
  std::string_view text = out.view();
  std::string back;
  ASSERT_TRUE(take_json_string(text, back));
  EXPECT_EQ(back, raw);
  EXPECT_EQ(text, "rest");
}

TEST(JsonText, JoinsSurrogatesAndReplacesLoneOnes) {
  std::string_view text = R"("\ud83d\ude00 \ud83d \ude00x\ud83d\u0041")";
  std::string back;
  ASSERT_TRUE(take_json_string(text, back));
  EXPECT_EQ(back,
            "\xf0\x9f\x98\x80 \xef\xbf\xbd \xef\xbf\xbdx\xef\xbf\xbd"
            "A");
}

// ---- the whole path

TEST(JsonFile, IsByteForByteDockers) {
  // testdata/docker-json-file.log: dockerd's file for this output with --log-opt labels=a,env=X, times set to kTime.
  TempDir dir;
  auto writer = LogWriter::open(options("json-file", dir / "log", {{"attrs", R"({"X":"1","a":"b"})"}})).value();
  std::string text =
      "plain\ntab\there \"q\" \\ <a>&b\x01\x1f\x7f\n\xc3\xa9 \xe2\x80\xa8 \xe2\x80\xa9 bad\xff\xfe \xed\xa0\x80 "
      "\xf0\x9f\x98\x80 x\r\n\n\n";
  text += std::string(40000, 'x') + "end\n";
  writer->write(Stream::kStdout, text, kTime);
  writer->write(Stream::kStderr, "a\b\fb\n", kTime);
  writer->write(Stream::kStdout, "nolineend", kTime);
  writer->finish(Stream::kStdout, kTime);
  writer->flush();
  EXPECT_EQ(slurp(dir / "log"), slurp(DAVIT_TESTDATA "/docker-json-file.log"));
}

TEST(Cri, WritesFullAndPartialLines) {
  TempDir dir;
  auto writer = LogWriter::open(options("cri", dir / "log")).value();
  writer->write(Stream::kStdout, "hello\n" + std::string(kMaxLineSize, 'x'), kTime);
  writer->write(Stream::kStdout, "tail\n", kTime + 5);
  writer->write(Stream::kStderr, "end", kTime);
  writer->finish(Stream::kStderr, kTime);
  writer->flush();
  std::string const stamp = "2026-11-21T20:16:17.418311554Z ";
  EXPECT_EQ(slurp(dir / "log"), stamp + "stdout F hello\n" + stamp + "stdout P " + std::string(kMaxLineSize, 'x') +
                                    "\n" + stamp + "stdout F tail\n" + stamp + "stderr P end\n");
}

struct FormatCase {
  char const* name;
  Driver driver;
};
class Formats : public testing::TestWithParam<FormatCase> {
 protected:
  TempDir dir_;
};

std::string sample(std::size_t lines) {
  std::string text;
  for (std::size_t i = 0; i < lines; ++i) text += "line " + std::to_string(i) + std::string(i % 50, '<') + "\n";
  return text;
}

TEST_P(Formats, ChunkBordersDoNotMatter) {
  std::string const text = sample(300) + std::string(50000, 'y') + "\n" + std::string(kMaxLineSize, 'z') + "\nlast";
  for (std::size_t chunk : {1, 7, 4096, 16384, 65536}) {
    std::string const path = dir_ / std::to_string(chunk);
    auto writer = LogWriter::open(options(GetParam().name, path)).value();
    for (std::size_t at = 0; at < text.size(); at += chunk)
      writer->write(Stream::kStdout, text.substr(at, chunk), kTime);
    writer->finish(Stream::kStdout, kTime);
    writer->idle();
    EXPECT_EQ(all_text(GetParam().driver, path), text) << chunk;
  }
}

TEST_P(Formats, RotatesBySizeAndReadsAcrossFiles) {
  std::string const path = dir_ / "log";
  auto writer =
      LogWriter::open(options(GetParam().name, path, {{"max-size", "4k"}, {"max-file", "200"}, {"compress", "true"}}))
          .value();
  std::string const text = sample(1000);
  for (std::size_t at = 0; at < text.size(); at += 1000) {
    writer->write(Stream::kStdout, text.substr(at, 1000), kTime);
    writer->flush();
    // As the monitor does, but here and now; every other one, so that plain and compressed files are mixed.
    if (at % 2000 == 0) {
      if (auto work = writer->file()->start_compression()) {
        writer->file()->finish_compression(gzip_file(work->from.get(), work->to).ok());
      }
    }
  }
  writer->idle();
  while (auto work = writer->file()->start_compression()) {
    if (work->name == path + ".1") {
      writer->file()->finish_compression(false);  // one stays plain
      break;
    }
    writer->file()->finish_compression(gzip_file(work->from.get(), work->to).ok());
  }
  EXPECT_TRUE(sys::exists(path + ".3.gz"));
  EXPECT_FALSE(sys::exists(path + ".3"));
  struct stat info {};
  ASSERT_EQ(::stat((path).c_str(), &info), 0);
  EXPECT_LE(info.st_size, 4400);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
  EXPECT_EQ(all_text(GetParam().driver, path), text);
  for (std::uint64_t tail : {0, 1, 5, 60, 500, 999, 1000, 5000}) {
    std::size_t at = text.size();
    for (std::uint64_t n = 0; n < tail && at > 0; ++n)
      at = text.rfind('\n', at - 2) == std::string::npos || at < 2 ? 0 : text.rfind('\n', at - 2) + 1;
    EXPECT_EQ(all_text(GetParam().driver, path, tail), text.substr(at)) << tail;
  }
}

TEST_P(Formats, KeepsOnlyMaxFiles) {
  std::string const path = dir_ / "log";
  auto writer =
      LogWriter::open(options(GetParam().name, path, {{"max-size", "1k"}, {"max-file", "3"}, {"compress", "false"}}))
          .value();
  for (int i = 0; i < 100; ++i) writer->write(Stream::kStdout, sample(20), kTime), writer->flush();
  EXPECT_TRUE(sys::exists(path + ".2"));
  EXPECT_FALSE(sys::exists(path + ".3"));
}

TEST_P(Formats, ACompressionMayFinishAfterFurtherRotations) {
  std::string const path = dir_ / "log";
  auto writer =
      LogWriter::open(options(GetParam().name, path, {{"max-size", "1k"}, {"max-file", "4"}, {"compress", "true"}}))
          .value();
  auto const rotate = [&] {
    auto const before = writer->file()->size();
    do writer->write(Stream::kStdout, "0123456789\n", kTime), writer->flush();
    while (writer->file()->size() > before || writer->file()->size() > 200);
  };
  rotate();
  auto const work = writer->file()->start_compression();
  ASSERT_TRUE(work);
  EXPECT_FALSE(writer->file()->start_compression());
  struct stat before {};
  ASSERT_EQ(::fstat(work->from.get(), &before), 0);
  // The rotation comes between the decision and the work: the open file is meant, not what has its name by then.
  rotate();
  struct stat other {};
  ASSERT_EQ(::stat(work->name.c_str(), &other), 0);
  EXPECT_NE(before.st_ino, other.st_ino);
  ASSERT_TRUE(gzip_file(work->from.get(), work->to).ok());
  writer->file()->finish_compression(true);
  EXPECT_TRUE(sys::exists(path + ".2.gz"));
  EXPECT_FALSE(sys::exists(path + ".2"));
  EXPECT_TRUE(sys::exists(path + ".1"));
}

TEST_P(Formats, ATornEndCostsOnlyTheTornEntry) {
  std::string const path = dir_ / "log";
  {
    auto writer = LogWriter::open(options(GetParam().name, path)).value();
    for (int i = 0; i < 3; ++i)
      writer->write(Stream::kStdout, "line " + std::to_string(i) + "\n", kTime), writer->flush();
  }
  std::string const whole = slurp(path);
  for (std::size_t cut = 1; cut < 20; ++cut) {
    spill(path, whole.substr(0, whole.size() - cut));
    std::string const kept = cut == 0 ? "line 0\nline 1\nline 2\n" : "line 0\nline 1\n";
    EXPECT_EQ(all_text(GetParam().driver, path), kept) << cut;
    EXPECT_EQ(all_text(GetParam().driver, path, 1), "line 1\n") << cut;
    auto writer = LogWriter::open(options(GetParam().name, path)).value();
    writer->write(Stream::kStdout, "after\n", kTime);
    writer->flush();
    std::string const text = all_text(GetParam().driver, path);
    EXPECT_EQ(text.substr(0, kept.size()), kept) << cut;
    EXPECT_EQ(text.substr(text.size() - 6), "after\n") << cut;
  }
}

TEST_P(Formats, SpaceTakenAheadIsGivenBack) {
  std::string const path = dir_ / "log";
  auto const writer = LogWriter::open(options(GetParam().name, path)).value();
  for (int i = 0; i < 4; ++i) {
    writer->write(Stream::kStdout, std::string(99'999, 'x') + "\n", kTime);
    writer->flush();
  }
  writer->idle();
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_GT(info.st_size, 400'000);
  EXPECT_LT(info.st_blocks * 512, info.st_size + 128 * 1024);
}

TEST_P(Formats, SinceAndUntilSelect) {
  std::string const path = dir_ / "log";
  auto writer = LogWriter::open(options(GetParam().name, path)).value();
  for (int i = 0; i < 10; ++i) writer->write(Stream::kStdout, std::to_string(i) + "\n", kTime + i);
  writer->flush();
  LogReader reader =
      LogReader::open({.driver = GetParam().driver, .path = path, .since = kTime + 3, .until = kTime + 5}).value();
  std::string text;
  while (auto entry = reader.next().value()) text += entry->text;
  EXPECT_EQ(text, "3\n4\n5\n");
}

TEST_P(Formats, AFullDiskLosesCountedBytesAndSaysSo) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small tmpfs";
  // A limit on the file's size fails like a full disk (EFBIG), after a part was written.
  std::string const path = dir_ / "log";
  auto writer = LogWriter::open(options(GetParam().name, path)).value();
  writer->write(Stream::kStdout, "before\n", kTime);
  writer->flush();
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{}, tight{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  tight = {writer->file()->size() + 10, old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  writer->write(Stream::kStdout, "lost\n", kTime);
  writer->flush();
  writer->write(Stream::kStdout, "lost too\n", kTime);
  writer->flush();
  ::setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_GT(writer->lost_bytes(), 0u);
  writer->write(Stream::kStdout, "after\n", kTime);
  writer->flush();
  std::string const text = all_text(GetParam().driver, path);
  EXPECT_EQ(text.substr(0, 7), "before\n");
  EXPECT_NE(text.find("bytes of log were lost"), std::string::npos);
  EXPECT_EQ(text.find("lost\n"), std::string::npos);
  EXPECT_EQ(text.substr(text.size() - 6), "after\n");
}

INSTANTIATE_TEST_SUITE_P(Table, Formats,
                         testing::Values(FormatCase{"json-file", Driver::kJsonFile},
                                         FormatCase{"local", Driver::kLocal}, FormatCase{"cri", Driver::kCri}),
                         [](auto const& info) {
                           return info.param.driver == Driver::kJsonFile ? "json_file" : std::string(info.param.name);
                         });

// ---- options

struct OptionCase {
  char const* name;
  char const* driver;
  KeyValues values;
  bool ok;
};
class Options : public testing::TestWithParam<OptionCase> {};
TEST_P(Options, AreTakenOrRefused) {
  EXPECT_EQ(parse_log_options(GetParam().driver, "/x", GetParam().values).ok(), GetParam().ok);
}
INSTANTIATE_TEST_SUITE_P(
    Table, Options,
    testing::Values(OptionCase{"defaults", "json-file", {}, true}, OptionCase{"local", "local", {}, true},
                    OptionCase{"unknown_driver", "syslog", {}, false},
                    OptionCase{"unknown_option", "json-file", {{"max-sise", "1m"}}, false},
                    OptionCase{"size", "json-file", {{"max-size", "10m"}, {"max-file", "3"}}, true},
                    OptionCase{"size_unit", "json-file", {{"max-size", "10x"}}, false},
                    OptionCase{"size_overflow", "json-file", {{"max-size", "99999999999g"}}, false},
                    OptionCase{"files_without_size", "json-file", {{"max-file", "3"}}, false},
                    OptionCase{"no_files", "json-file", {{"max-size", "1m"}, {"max-file", "0"}}, false},
                    OptionCase{"compress_one", "json-file", {{"max-size", "1m"}, {"compress", "true"}}, false},
                    OptionCase{"attrs", "json-file", {{"attrs", R"({"a":{"b":[1,"x"]}})"}}, true},
                    OptionCase{"attrs_bad", "json-file", {{"attrs", "{\"a\"}"}}, false},
                    OptionCase{"attrs_twice", "json-file", {{"attrs", "{}{}"}}, false},
                    OptionCase{"attrs_cri", "cri", {{"attrs", "{}"}}, false}, OptionCase{"none", "none", {}, true},
                    OptionCase{"none_options", "none", {{"max-size", "1m"}}, false}),
    [](auto const& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace davit::monitor::log
