#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "codec/tar.h"
#include "codec/testing/tar_parts.h"

namespace davit::codec {
namespace {

using namespace testing;

struct Read {
  TarEntry entry;
  std::string data;
};

// Every chunk size gives the same, and data and raw bytes together are the archive.
Result<std::vector<Read>> read_tar(std::string const& archive, std::size_t chunk = SIZE_MAX, TarLimits limits = {}) {
  MemorySource source(archive, chunk);
  TarReader reader(source, limits);
  std::string seen;
  reader.on_raw([&](std::string_view bytes) -> Result<void> {
    seen += bytes;
    return {};
  });
  std::vector<Read> entries;
  for (;;) {
    Read read;
    bool const more = TRY(reader.next(read.entry));
    if (!more) break;
    for (;;) {
      std::string_view const piece = TRY(reader.data());
      if (piece.empty()) break;
      read.data += piece;
      seen += piece;
    }
    entries.push_back(std::move(read));
  }
  EXPECT_EQ(seen, archive);
  return entries;
}

struct Good {
  std::string name;
  std::string archive;
  std::function<void(std::vector<Read> const&)> check;
};

class TarReads : public ::testing::TestWithParam<Good> {};
TEST_P(TarReads, HoweverTheStreamIsCut) {
  for (std::size_t const chunk : {std::size_t{1}, std::size_t{7}, std::size_t{511}, std::size_t{512}, SIZE_MAX}) {
    auto const entries = read_tar(GetParam().archive, chunk);
    ASSERT_TRUE(entries.ok()) << entries.error().to_string();
    GetParam().check(*entries);
  }
}

void expect_one(std::vector<Read> const& entries, std::string_view name, std::string_view data) {
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].entry.name, name);
  EXPECT_EQ(entries[0].data, data);
}

std::string gnu_sparse_header(std::vector<std::pair<std::uint64_t, std::uint64_t>> extents, std::uint64_t stored,
                              std::uint64_t real) {
  RawHeader header("sparse", 'S', stored);
  header.gnu();
  for (std::size_t i = 0; i < extents.size() && i < 4; ++i) {
    header.octal({tar::kSparse.offset + i * 24, 12}, extents[i].first);
    header.octal({tar::kSparse.offset + i * 24 + 12, 12}, extents[i].second);
  }
  header.octal(tar::kSparseRealSize, real);
  if (extents.size() > 4) header.text(tar::kSparseMore, "\1");
  std::string blocks = header.block();
  for (std::size_t first = 4; first < extents.size(); first += 21) {
    std::string more(512, '\0');
    for (std::size_t i = 0; i < 21 && first + i < extents.size(); ++i) {
      std::snprintf(more.data() + i * 24, 12, "%011lo", static_cast<unsigned long>(extents[first + i].first));
      std::snprintf(more.data() + i * 24 + 12, 12, "%011lo", static_cast<unsigned long>(extents[first + i].second));
    }
    if (first + 21 < extents.size()) more[504] = 1;
    blocks += more;
  }
  return blocks;
}

std::string long_name(std::size_t size) {
  return std::string(size / 2, 'd') + "/" + std::string(size - size / 2 - 1, 'f');
}

std::vector<Good> good_cases() {
  std::vector<Good> cases;
  auto const add = [&](std::string name, std::string archive, std::function<void(std::vector<Read> const&)> check) {
    cases.push_back({std::move(name), std::move(archive), std::move(check)});
  };
  add("empty", end_of_tar(), [](auto const& e) { EXPECT_TRUE(e.empty()); });
  add("nothing_at_all", "", [](auto const& e) { EXPECT_TRUE(e.empty()); });
  add("ustar", file("a/b", "hello") + end_of_tar(), [](auto const& e) {
    expect_one(e, "a/b", "hello");
    EXPECT_EQ(e[0].entry.mtime.seconds, 1'600'000'000);
    EXPECT_EQ(e[0].entry.mode, 0644u);
  });
  add("without_an_end", file("a", "hello"), [](auto const& e) { expect_one(e, "a", "hello"); });
  add("last_padding_missing", RawHeader("a", '0', 5).block() + "hello",
      [](auto const& e) { expect_one(e, "a", "hello"); });
  add("what_follows_the_end_is_read", file("a", "x") + end_of_tar() + std::string(3000, 'z'),
      [](auto const& e) { expect_one(e, "a", "x"); });
  add("prefix", RawHeader("name", '0').text(tar::kPrefix, "pre/fix").block() + end_of_tar(),
      [](auto const& e) { expect_one(e, "pre/fix/name", ""); });
  add("star_prefix_is_shorter",
      RawHeader("name", '0')
              .text(tar::kPrefix, "pre")
              .text({345 + 131, 12}, "00000000000")
              .text({508, 4}, {"tar\0", 4})
              .block() +
          end_of_tar(),
      [](auto const& e) { expect_one(e, "pre/name", ""); });
  add("v7", RawHeader("old", '\0', 3).v7().text(tar::kPrefix, "no").block() + padded("abc") + end_of_tar(),
      [](auto const& e) { expect_one(e, "old", "abc"); });
  add("v7_directory_by_its_slash", RawHeader("old/", '\0').v7().block() + end_of_tar(), [](auto const& e) {
    expect_one(e, "old", "");
    EXPECT_EQ(e[0].entry.type, TarType::kDirectory);
  });
  add("name_of_100_bytes_has_no_nul", file(std::string(100, 'n'), "") + end_of_tar(),
      [](auto const& e) { expect_one(e, std::string(100, 'n'), ""); });
  add("gnu_long_name_and_target",
      RawHeader("././@LongLink", 'L', 301).gnu().block() + padded(long_name(300) + '\0') +
          RawHeader("././@LongLink", 'K', 201).gnu().block() + padded(std::string(200, 't') + '\0') +
          RawHeader("short", '2').gnu().text(tar::kTarget, "short").block() + file("next", "n") + end_of_tar(),
      [](auto const& e) {
        ASSERT_EQ(e.size(), 2u);
        EXPECT_EQ(e[0].entry.name, long_name(300));
        EXPECT_EQ(e[0].entry.target, std::string(200, 't'));
        EXPECT_EQ(e[1].entry.name, "next");
      });
  add("pax_over_header",
      pax({{"path", "päth"},
           {"uid", "4000000000"},
           {"gid", "7"},
           {"mtime", "1.000000001"},
           {"size", "4"},
           {"SCHILY.xattr.user.a", std::string_view("b\0c", 3)},
           {"LIBARCHIVE.xattr.user.%64", "ZQ=="},
           {"uname", "u"}}) +
          RawHeader("x", '0', 0).block() + padded("data") + file("plain", "") + end_of_tar(),
      [](auto const& e) {
        ASSERT_EQ(e.size(), 2u);
        EXPECT_EQ(e[0].entry.name, "päth");
        EXPECT_EQ(e[0].data, "data");
        EXPECT_EQ(e[0].entry.uid, 4000000000u);
        EXPECT_EQ(e[0].entry.gid, 7u);
        EXPECT_EQ(e[0].entry.mtime, (TarTime{1, 1}));
        EXPECT_EQ(e[0].entry.xattrs.at("user.a"), std::string("b\0c", 3));
        EXPECT_EQ(e[0].entry.xattrs.at("user.d"), "e");
        EXPECT_EQ(e[1].entry.name, "plain");
        EXPECT_EQ(e[1].entry.uid, 0u);
        EXPECT_TRUE(e[1].entry.xattrs.empty());
      });
  add("global_pax_holds_until_taken_back",
      pax({{"uid", "5"}, {"comment", "c"}}, 'g') + file("a", "") + pax({{"uid", ""}, {"gid", "6"}}) + file("b", "") +
          file("c", "") + pax({{"uid", "9"}}, 'g') + file("d", "") + end_of_tar(),
      [](auto const& e) {
        ASSERT_EQ(e.size(), 4u);
        EXPECT_EQ(e[0].entry.uid, 5u);
        EXPECT_EQ(e[1].entry.uid, 0u);
        EXPECT_EQ(e[1].entry.gid, 6u);
        EXPECT_EQ(e[2].entry.uid, 5u);
        EXPECT_EQ(e[2].entry.gid, 0u);
        EXPECT_EQ(e[3].entry.uid, 9u);
      });
  add("solaris_extended_header", pax({{"path", "sun"}}, 'X') + file("x", "y") + end_of_tar(),
      [](auto const& e) { expect_one(e, "sun", "y"); });
  add("negative_pax_time", pax({{"mtime", "-1.5"}}) + file("x", "") + end_of_tar(), [](auto const& e) {
    EXPECT_EQ(e.at(0).entry.mtime, (TarTime{-2, 500'000'000}));
  });
  add("base_256",
      RawHeader("big", '0', 0)
              .text(tar::kUid, std::string_view("\x80\0\0\0\x7f\xff\xff\xff", 8))
              .text(tar::kMtime, std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12))
              .text(tar::kSize, std::string_view("\x80\0\0\0\0\0\0\0\0\0\0\2", 12))
              .block() +
          padded("ab") + end_of_tar(),
      [](auto const& e) {
        expect_one(e, "big", "ab");
        EXPECT_EQ(e[0].entry.uid, 0x7fffffffu);
        EXPECT_EQ(e[0].entry.mtime.seconds, -2);
      });
  add(
      "signed_checksum",
      [] {
        RawHeader header("n\xe4me", '0');
        std::string block = header.block();
        std::snprintf(block.data() + 148, 8, "%06o", tar::unsigned_checksum(block.data()) - 256);
        return block + end_of_tar();
      }(),
      [](auto const& e) { expect_one(e, "n\xe4me", ""); });
  add("sizes_of_links_and_directories_are_no_data",
      RawHeader("l", '1', 100).text(tar::kTarget, "t").block() + RawHeader("d/", '5', 4096).block() + file("f", "x") +
          end_of_tar(),
      [](auto const& e) {
        ASSERT_EQ(e.size(), 3u);
        EXPECT_EQ(e[1].entry.name, "d");
        EXPECT_EQ(e[2].data, "x");
      });
  add("types_without_a_file_are_passed_over",
      file("label", "", 'V') + pax({{"path", "q"}}) + file("acl", "123", 'A') + file("vendor", "v", 'Q') +
          file("f", "x") + end_of_tar(),
      [](auto const& e) { expect_one(e, "f", "x"); });
  add("gnu_dump_directory", file("d/", "Yname", 'D') + file("f", "x") + end_of_tar(), [](auto const& e) {
    ASSERT_EQ(e.size(), 2u);
    EXPECT_EQ(e[0].entry.type, TarType::kDirectory);
  });
  add("contiguous_file", file("c", "x", '7') + end_of_tar(), [](auto const& e) {
    expect_one(e, "c", "x");
    EXPECT_EQ(e[0].entry.type, TarType::kFile);
  });
  add("device", RawHeader("dev", '3').octal(tar::kMajor, 1).octal(tar::kMinor, 3).block() + end_of_tar(),
      [](auto const& e) {
        EXPECT_EQ(e.at(0).entry.device_major, 1u);
        EXPECT_EQ(e.at(0).entry.device_minor, 3u);
      });
  add("gnu_sparse",
      gnu_sparse_header({{512, 3}, {2000, 2}, {4000, 0}}, 5, 4000) + padded("abcde") + file("f", "x") + end_of_tar(),
      [](auto const& e) {
        ASSERT_EQ(e.size(), 2u);
        EXPECT_TRUE(e[0].entry.is_sparse);
        EXPECT_EQ(e[0].entry.size, 4000u);
        ASSERT_EQ(e[0].entry.sparse.size(), 2u);
        EXPECT_EQ(e[0].entry.sparse[1].offset, 2000u);
        EXPECT_EQ(e[0].data, "abcde");
      });
  std::vector<std::pair<std::uint64_t, std::uint64_t>> many;
  for (std::uint64_t i = 0; i < 60; ++i) many.emplace_back(i * 1000, 1);
  add("gnu_sparse_with_more_headers", gnu_sparse_header(many, 60, 60000) + padded(std::string(60, 's')) + end_of_tar(),
      [](auto const& e) { EXPECT_EQ(e.at(0).entry.sparse.size(), 60u); });
  auto const check_pax_sparse = [](std::vector<Read> const& e) {
    ASSERT_EQ(e.size(), 2u);
    EXPECT_EQ(e[0].entry.name, "real");
    EXPECT_TRUE(e[0].entry.is_sparse);
    EXPECT_EQ(e[0].entry.size, 3000u);
    ASSERT_EQ(e[0].entry.sparse.size(), 2u);
    EXPECT_EQ(e[0].entry.sparse[0].offset, 10u);
    EXPECT_EQ(e[0].entry.sparse[1].size, 3u);
    EXPECT_EQ(e[0].data, "abcde");
    EXPECT_FALSE(e[1].entry.is_sparse);
  };
  add("pax_sparse_0_0",
      pax({{"GNU.sparse.size", "3000"},
           {"GNU.sparse.numblocks", "2"},
           {"GNU.sparse.offset", "10"},
           {"GNU.sparse.numbytes", "2"},
           {"GNU.sparse.offset", "20"},
           {"GNU.sparse.numbytes", "3"},
           {"GNU.sparse.name", "real"}}) +
          file("x", "abcde") + file("f", "") + end_of_tar(),
      check_pax_sparse);
  add("pax_sparse_0_1",
      pax({{"GNU.sparse.size", "3000"},
           {"GNU.sparse.numblocks", "2"},
           {"GNU.sparse.map", "10,2,20,3"},
           {"GNU.sparse.name", "real"}}) +
          file("x", "abcde") + file("f", "") + end_of_tar(),
      check_pax_sparse);
  add("pax_sparse_1_0",
      pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.realsize", "3000"},
           {"GNU.sparse.name", "real"}}) +
          file("GNUSparseFile.0/x", padded("2\n10\n2\n20\n3\n") + "abcde") + file("f", "") + end_of_tar(),
      check_pax_sparse);
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Table, TarReads, ::testing::ValuesIn(good_cases()),
                         [](auto const& info) { return info.param.name; });

struct Bad {
  std::string name;
  std::string archive;
  Errc code = Errc::kInvalidArgument;
  TarLimits limits = {};
};

class TarRefuses : public ::testing::TestWithParam<Bad> {};
TEST_P(TarRefuses, HoweverTheStreamIsCut) {
  for (std::size_t const chunk : {std::size_t{1}, std::size_t{512}, SIZE_MAX}) {
    MemorySource source(GetParam().archive, chunk);
    TarReader reader(source, GetParam().limits);
    TarEntry entry;
    Result<void> outcome;
    for (bool more = true; more;) {
      auto const next = reader.next(entry);
      if (!next.ok()) {
        EXPECT_EQ(next.error().code(), GetParam().code) << next.error().to_string();
        outcome = Error(next.error().code(), "refused");
        break;
      }
      more = *next;
      for (;;) {
        auto const piece = reader.data();
        if (!piece.ok()) outcome = Error(piece.error().code(), "refused");
        if (!piece.ok() || piece->empty()) break;
      }
      if (!outcome.ok()) break;
    }
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code(), GetParam().code);
  }
}

std::vector<Bad> bad_cases() {
  std::string const two = file("a", std::string(1000, 'a')) + file("b", "b");
  std::string broken = file("a", "a");
  broken[0] = 'b';
  std::string const ok = file("f", "x") + end_of_tar();
  return {
      {"checksum", broken},
      {"cut_in_a_header", two.substr(0, 300)},
      {"cut_in_data", two.substr(0, 900)},
      {"cut_in_the_second_header", two.substr(0, 1600)},
      {"cut_in_an_extended_header", pax({{"path", "abc"}}).substr(0, 520)},
      {"ends_after_an_extended_header", pax({{"path", "abc"}})},
      {"lone_zero_block", std::string(512, '\0') + ok},
      {"text_is_no_tar", std::string(2000, 'x')},
      {"size_not_a_number", RawHeader("a", '0').text(tar::kSize, "12x").block() + ok},
      {"negative_size", RawHeader("a", '0').text(tar::kSize, std::string(12, '\xff')).block() + ok},
      {"absurd_size", RawHeader("a", '0').text(tar::kSize, "\xbf" + std::string(11, '\xff')).block() + ok},
      {"absurd_pax_size", pax({{"size", "18446744073709551615"}}) + file("a", "") + ok},
      {"uid_that_means_none", pax({{"uid", "4294967295"}}) + file("a", "") + ok},
      {"negative_uid", RawHeader("a", '0').text(tar::kUid, std::string(8, '\xff')).block() + ok},
      {"pax_length_too_long", file("p", "99 path=a\n", 'x') + ok},
      {"pax_length_too_short", file("p", "3 path=a\n", 'x') + ok},
      {"pax_length_zero", file("p", "0 path=a\n", 'x') + ok},
      {"pax_without_equals", file("p", "7 path\n", 'x') + ok},
      {"pax_without_newline", file("p", "9 path=aa", 'x') + ok},
      {"pax_name_with_nul", pax({{"path", std::string_view("a\0b", 3)}}) + file("a", "") + ok},
      {"pax_time", pax({{"mtime", "1.x"}}) + file("a", "") + ok},
      {"xattr_without_a_name", pax({{"SCHILY.xattr.", "v"}}) + file("a", "") + ok},
      {"sparse_past_the_end", gnu_sparse_header({{10, 5}}, 5, 12) + padded("abcde") + ok},
      {"sparse_overlap", gnu_sparse_header({{10, 3}, {12, 2}}, 5, 100) + padded("abcde") + ok},
      {"sparse_sum", gnu_sparse_header({{10, 3}}, 5, 100) + padded("abcde") + ok},
      {"sparse_map_not_numbers",
       pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.realsize", "9"}}) + file("x", padded("x\n")) + ok},
      {"sparse_map_cut", pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.realsize", "9"}}) + file("x", "1\n") + ok},
      {"sparse_without_size", pax({{"GNU.sparse.major", "1"}}) + file("x", padded("0\n")) + ok},
      {"sparse_numbytes_alone", pax({{"GNU.sparse.numbytes", "1"}}) + file("x", "") + ok},
      {"sparse_odd_map", pax({{"GNU.sparse.map", "1,2,3"}}) + file("x", "") + ok},
      {"other_volume", file("rest", "x", 'M') + ok},
      {"too_many_entries",
       file("a", "") + file("b", "") + file("c", "") + ok,
       Errc::kResourceExhausted,
       {.max_entries = 3}},
      {"long_extended_header",
       pax({{"comment", std::string(2000, 'c')}}) + ok,
       Errc::kResourceExhausted,
       {.max_pax_bytes = 1000}},
      {"extended_header_of_terabytes", RawHeader("x", 'x', std::uint64_t{1} << 32).block(), Errc::kResourceExhausted},
      {"long_name", pax({{"path", std::string(5000, 'c')}}) + ok, Errc::kResourceExhausted},
      {"long_gnu_name", RawHeader("L", 'L', 4500).gnu().block() + padded(std::string(4500, 'c')) + ok,
       Errc::kResourceExhausted},
      {"too_many_extents",
       pax({{"GNU.sparse.map", "1,1,3,1,5,1"}}) + ok,
       Errc::kResourceExhausted,
       {.max_sparse_extents = 2}},
      {"too_many_extents_in_data",
       pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.realsize", "9"}}) + file("x", padded("1000000000\n")) + ok,
       Errc::kResourceExhausted},
      {"only_extended_headers",
       [] {
         std::string many;
         for (int i = 0; i < 100; ++i) many += pax({{"path", "x"}});
         return many;
       }(),
       Errc::kResourceExhausted},
  };
}
INSTANTIATE_TEST_SUITE_P(Table, TarRefuses, ::testing::ValuesIn(bad_cases()),
                         [](auto const& info) { return info.param.name; });

TEST(TarReader, DataLeftUnreadIsSkippedAsRawBytes) {
  std::string const archive = file("a", std::string(2000, 'a')) + file("b", "b") + end_of_tar();
  MemorySource source(archive, 100);
  TarReader reader(source);
  std::string raw;
  reader.on_raw([&](std::string_view bytes) -> Result<void> {
    raw += bytes;
    return {};
  });
  TarEntry entry;
  while (*reader.next(entry)) {
  }
  EXPECT_EQ(raw, archive);
}

TEST(TarReader, AListenersErrorEndsTheReading) {
  std::string const archive = file("a", "a") + end_of_tar();
  MemorySource source(archive);
  TarReader reader(source);
  reader.on_raw([](std::string_view) -> Result<void> { return Error(Errc::kResourceExhausted, "full"); });
  TarEntry entry;
  EXPECT_EQ(reader.next(entry).error().code(), Errc::kResourceExhausted);
}

}  // namespace
}  // namespace davit::codec
