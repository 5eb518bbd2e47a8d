#include "codec/hash.h"

#include <gtest/gtest.h>

namespace davit::codec {
namespace {

constexpr std::string_view kSha256Abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view kSha512Abc =
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a"
    "9ac94fa54ca49f";

TEST(Hash, KnowsTheStandardsExamples) {
  EXPECT_EQ(sha256_hex("abc"), kSha256Abc);
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Hasher hasher(HashAlgorithm::kSha512);
  hasher.update("ab");
  hasher.update("c");
  EXPECT_EQ(hasher.finish_hex(), kSha512Abc);
}

TEST(Hash, MovesWithWhatItHasSeen) {
  Hasher first;
  first.update("a");
  Hasher second(std::move(first));
  second.update("b");
  Hasher third(HashAlgorithm::kSha512);
  third = std::move(second);
  third.update("c");
  EXPECT_EQ(third.finish_hex(), kSha256Abc);
}

TEST(HashingSource, PassesBytesOnAndCountsThem) {
  MemorySource memory("abc", 1);
  HashingSource source(memory);
  EXPECT_EQ(read_all(source, 10).value(), "abc");
  EXPECT_EQ(source.size(), 3u);
  EXPECT_EQ(source.finish_hex(), kSha256Abc);
}

TEST(HashingSink, PassesBytesOnAndCountsThem) {
  StringSink text;
  HashingSink sink(text, HashAlgorithm::kSha512);
  ASSERT_TRUE(sink.write("ab").ok());
  ASSERT_TRUE(sink.write("c").ok());
  EXPECT_EQ(text.text(), "abc");
  EXPECT_EQ(sink.size(), 3u);
  EXPECT_EQ(sink.finish_hex(), kSha512Abc);
}

TEST(Stream, ReadAllStopsPastItsLimit) {
  MemorySource exact("abcdef", 4);
  EXPECT_EQ(read_all(exact, 6).value(), "abcdef");
  MemorySource more("abcdef", 4);
  EXPECT_EQ(read_all(more, 5).error().code(), Errc::kResourceExhausted);
  MemorySource source("abcdef", 4);
  StringSink sink;
  EXPECT_EQ(copy(source, sink).value(), 6u);
  EXPECT_EQ(sink.take(), "abcdef");
  EXPECT_EQ(source.next().value(), "");
}

}  // namespace
}  // namespace davit::codec
