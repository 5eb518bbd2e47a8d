#include "codec/compression.h"

#include <bzlib.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <zstd.h>

#include <random>
#include <vector>

namespace davit::codec {
namespace {

// Text that compresses like text: words in random order, then bytes that do not compress.
std::string sample(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size * 3 / 4) {
    text += "word";
    text += std::to_string(random() % 5000);
  }
  while (text.size() < size) text += static_cast<char>(random());
  text.resize(size);
  return text;
}

std::string gzip(std::string_view bytes, GzipOptions options = {}, std::size_t write_size = SIZE_MAX) {
  StringSink out;
  GzipSink sink(out, options);
  MemorySource source(bytes, write_size);
  EXPECT_TRUE(copy(source, sink).ok());
  EXPECT_TRUE(sink.finish().ok());
  return out.take();
}

std::string zstd(std::string_view bytes) {
  StringSink out;
  ZstdSink sink(out, 3);
  EXPECT_TRUE(sink.write(bytes.substr(0, bytes.size() / 2)).ok());
  EXPECT_TRUE(sink.write(bytes.substr(bytes.size() / 2)).ok());
  EXPECT_TRUE(sink.finish().ok());
  return out.take();
}

std::string xz(std::string_view bytes) {
  std::string out(lzma_stream_buffer_bound(bytes.size()), '\0');
  std::size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<std::uint8_t const*>(bytes.data()),
                                    bytes.size(), reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

std::string bzip2(std::string_view bytes) {
  std::string out(bytes.size() + bytes.size() / 1000 + 1000, '\0');
  auto size = static_cast<unsigned>(out.size());
  EXPECT_EQ(BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(bytes.data()),
                                     static_cast<unsigned>(bytes.size()), 1, 0, 0),
            BZ_OK);
  out.resize(size);
  return out;
}

std::string compress(Compression compression, std::string_view bytes) {
  switch (compression) {
    case Compression::kNone:
      return std::string(bytes);
    case Compression::kGzip:
      return gzip(bytes);
    case Compression::kZstd:
      return zstd(bytes);
    case Compression::kBzip2:
      return bzip2(bytes);
    case Compression::kXz:
      return xz(bytes);
  }
  return {};
}

Result<std::string> unpack(std::string_view packed, Compression compression, std::size_t chunk = SIZE_MAX,
                           DecompressLimits limits = {}) {
  MemorySource source(packed, chunk);
  auto const decompressed = decompress(source, compression, limits);
  return read_all(*decompressed, std::size_t{1} << 30);
}

Errc code_of(Result<std::string> const& result) { return result.ok() ? Errc::kInternal : result.error().code(); }

class EachFormat : public testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(Table, EachFormat,
                         testing::Values(Compression::kGzip, Compression::kZstd, Compression::kBzip2, Compression::kXz),
                         [](auto const& info) { return std::string(compression_name(info.param)); });

TEST_P(EachFormat, ComesBackWhateverTheChunks) {
  for (std::size_t const size : {0u, 1u, 100u, 131071u, 131072u, 131073u, 700'000u}) {
    std::string const bytes = sample(size);
    std::string const packed = compress(GetParam(), bytes);
    for (std::size_t const chunk : {SIZE_MAX, std::size_t{65536}, std::size_t{1000}, std::size_t{7}, std::size_t{1}}) {
      Result<std::string> const got = unpack(packed, GetParam(), chunk);
      ASSERT_TRUE(got.ok()) << size << " in chunks of " << chunk << ": " << got.error().to_string();
      EXPECT_EQ(*got, bytes) << size << " in chunks of " << chunk;
    }
  }
}

TEST_P(EachFormat, IsDetectedByItsFirstBytes) {
  std::string const bytes = sample(5000);
  std::string const packed = compress(GetParam(), bytes);
  EXPECT_EQ(detect_compression(packed), GetParam());
  for (std::size_t const chunk : {SIZE_MAX, std::size_t{1}, std::size_t{5}}) {
    MemorySource source(packed, chunk);
    Result<Detected> detected = decompress_any(source);
    ASSERT_TRUE(detected.ok());
    EXPECT_EQ(detected->compression, GetParam());
    EXPECT_EQ(read_all(*detected->source, 5000).value(), bytes);
  }
}

TEST_P(EachFormat, MayHaveSeveralMembers) {
  std::string const packed =
      compress(GetParam(), "one ") + compress(GetParam(), "") + compress(GetParam(), sample(200'000));
  for (std::size_t const chunk : {SIZE_MAX, std::size_t{3}}) {
    EXPECT_EQ(unpack(packed, GetParam(), chunk).value(), "one " + sample(200'000));
  }
}

TEST_P(EachFormat, IsRefusedWhenCutOffAnywhere) {
  std::string const packed = compress(GetParam(), sample(600));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    for (std::size_t const chunk : {SIZE_MAX, std::size_t{1}}) {
      EXPECT_EQ(code_of(unpack(packed.substr(0, size), GetParam(), chunk)), Errc::kInvalidArgument)
          << "cut at " << size;
    }
  }
}

TEST_P(EachFormat, IsRefusedWithGarbageAfterTheEnd) {
  for (std::string_view const garbage : {"x", "garbage after the end", "\x1f\x8b", "BZh9"}) {
    EXPECT_EQ(code_of(unpack(compress(GetParam(), "data") + std::string(garbage), GetParam())), Errc::kInvalidArgument);
  }
}

TEST_P(EachFormat, NeverComesOutWrongWhenABitIsFlipped) {
  std::string const bytes = sample(300);
  std::string const packed = compress(GetParam(), bytes);
  for (std::size_t i = 0; i < packed.size() * 8; ++i) {
    std::string damaged = packed;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << i % 8));
    Result<std::string> const got = unpack(damaged, GetParam());
    // Some bits say nothing: gzip's time, the system it was made on.
    if (got.ok()) {
      EXPECT_EQ(*got, bytes) << "bit " << i;
    }
  }
}

TEST_P(EachFormat, RefusesABombByRatioAndBySize) {
  std::string const packed = compress(GetParam(), std::string(8 << 20, '\0'));
  DecompressLimits const ratio = {.ratio_free_bytes = 1 << 20, .max_ratio = 100};
  EXPECT_EQ(code_of(unpack(packed, GetParam(), SIZE_MAX, ratio)), Errc::kResourceExhausted);
  EXPECT_EQ(code_of(unpack(packed, GetParam(), 100, ratio)), Errc::kResourceExhausted);
  EXPECT_EQ(code_of(unpack(packed, GetParam(), SIZE_MAX, {.max_output = (8 << 20) - 1})), Errc::kResourceExhausted);
  // Below the free size, and of a good ratio, it goes through.
  EXPECT_TRUE(unpack(packed, GetParam(), SIZE_MAX, {.max_ratio = 2, .max_output = 8 << 20}).ok());
  std::string const dense = compress(GetParam(), sample(2 << 20));
  EXPECT_TRUE(unpack(dense, GetParam(), SIZE_MAX, ratio).ok());
}

TEST(Detect, LeavesOtherBytesAlone) {
  for (std::string_view const text :
       {"", "\x1f", "\x1f\x8b\x08\0\0", "\x1f\x8b\x07\0\0\0\0", "BZh9file.txt", "PK\3\4....", "hello world"}) {
    EXPECT_EQ(detect_compression(text), Compression::kNone);
    MemorySource source(text, 2);
    Result<Detected> detected = decompress_any(source);
    ASSERT_TRUE(detected.ok());
    EXPECT_EQ(detected->compression, Compression::kNone);
    EXPECT_EQ(read_all(*detected->source, 100).value(), text);
  }
}

// Gzip ---------------------------------------------------------------------------------------------------------------

TEST(GzipSink, WritesTheSameBytesWhateverTheWritesAndThreads) {
  for (std::size_t const size : {0u, 1u, 1u << 20, (1u << 20) + 1, 3'300'000u}) {
    std::string const bytes = sample(size);
    for (int level = 0; level <= 3; ++level) {
      std::string const packed = gzip(bytes, {.level = level});
      EXPECT_EQ(unpack(packed, Compression::kGzip).value(), bytes);
      for (unsigned const threads : {1u, 3u}) {
        EXPECT_TRUE(gzip(bytes, {.level = level, .threads = threads}, 10'007) == packed)
            << size << " " << level << " " << threads;
      }
      EXPECT_TRUE(gzip(bytes, {.level = level}, 777) == packed) << size << " level " << level;
    }
  }
}

TEST(GzipSink, SaysNothingOfTimeAndSystem) {
  EXPECT_EQ(gzip("").substr(0, 10), std::string_view("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10));
}

TEST(GzipSink, GrowsRandomBytesByLittle) {
  std::mt19937 random(5);
  std::string bytes(3'000'000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  for (int level = 0; level <= 3; ++level) {
    std::string const packed = gzip(bytes, {.level = level});
    EXPECT_LT(packed.size(), bytes.size() + bytes.size() / 1000);
    EXPECT_TRUE(unpack(packed, Compression::kGzip).value() == bytes);
  }
}

class FailingSink : public Sink {
 public:
  explicit FailingSink(int writes) : left_(writes) {}
  Result<void> write(std::string_view) override {
    if (left_-- > 0) return {};
    return Error(Errc::kResourceExhausted, "full");
  }

 private:
  int left_;
};

TEST(GzipSink, PassesOnTheErrorOfItsSink) {
  std::string const bytes = sample(9 << 20);
  for (unsigned const threads : {0u, 2u}) {
    for (int const writes : {0, 1, 4}) {
      FailingSink out(writes);
      GzipSink sink(out, {.threads = threads});
      Result<void> written = sink.write(bytes);
      if (written.ok()) written = sink.finish();
      ASSERT_FALSE(written.ok());
      EXPECT_EQ(written.error().code(), Errc::kResourceExhausted);
    }
  }
}

TEST(GzipSink, MayBeLeftUnfinished) {
  StringSink out;
  GzipSink sink(out, {.threads = 2});
  ASSERT_TRUE(sink.write(sample(5 << 20)).ok());
}

TEST(Gzip, ReadsEveryHeaderField) {
  std::string const plain = gzip("data");
  std::string const body = plain.substr(10);
  auto const header = [](char flags) {
    return std::string("\x1f\x8b\x08", 3) + flags + std::string("\0\0\0\0\0\3", 6);
  };
  std::string const extra("\4\0abcd", 6);
  using namespace std::string_literals;
  for (std::string const& start : {header(0), header(1), header(4) + extra, header(4) + "\0\0"s, header(8) + "name\0"s,
                                   header(16) + "comment\0"s, header(28) + extra + "n\0c\0"s, header(24) + "\0\0"s}) {
    for (std::size_t const chunk : {SIZE_MAX, std::size_t{1}}) {
      EXPECT_EQ(unpack(start + body, Compression::kGzip, chunk).value(), "data");
    }
  }
  // The header's CRC, computed with zlib
  EXPECT_EQ(unpack(header(2) + "\xa7\x77"s + body, Compression::kGzip).value(), "data");
  EXPECT_EQ(code_of(unpack(header(2) + "\0\0"s + body, Compression::kGzip)), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(unpack(header(0x20) + body, Compression::kGzip)), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(unpack("\x1f\x8b\x07"s + header(0).substr(3) + body, Compression::kGzip)), Errc::kInvalidArgument);
}

TEST(Gzip, TakesZerosAfterTheLastMember) {
  for (std::size_t const zeros : {1u, 100u, 10'000u}) {
    EXPECT_EQ(unpack(gzip("data") + std::string(zeros, '\0'), Compression::kGzip, 512).value(), "data");
  }
  EXPECT_EQ(code_of(unpack(gzip("data") + std::string(10, '\0') + "x", Compression::kGzip)), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(unpack(gzip("data") + std::string(10, '\0') + gzip("data"), Compression::kGzip)),
            Errc::kInvalidArgument);
  EXPECT_EQ(code_of(unpack(std::string(10, '\0'), Compression::kGzip)), Errc::kInvalidArgument);
}

TEST(Gzip, ChecksTheTrailer) {
  std::string const packed = gzip(sample(1000));
  for (std::size_t back = 1; back <= 8; ++back) {
    std::string damaged = packed;
    damaged[damaged.size() - back] ^= 1;
    EXPECT_EQ(code_of(unpack(damaged, Compression::kGzip)), Errc::kInvalidArgument);
  }
}

// Zstd, xz -----------------------------------------------------------------------------------------------------------

TEST(Zstd, SkipsSkippableFrames) {
  std::string const skippable = std::string("\x5f\x2a\x4d\x18\5\0\0\0", 8) + "abcde";
  EXPECT_EQ(detect_compression(skippable), Compression::kZstd);
  for (std::size_t const chunk : {SIZE_MAX, std::size_t{1}}) {
    EXPECT_EQ(unpack(skippable + zstd("data") + skippable, Compression::kZstd, chunk).value(), "data");
    EXPECT_EQ(unpack(skippable, Compression::kZstd, chunk).value(), "");
  }
  EXPECT_EQ(code_of(unpack(skippable.substr(0, 10), Compression::kZstd)), Errc::kInvalidArgument);
}

TEST(Zstd, RefusesAWindowLargerThanAllowed) {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 23);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::string const bytes = sample(1000);
  std::string packed(10'000, '\0');
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  ZSTD_outBuffer out{packed.data(), packed.size(), 0};
  ASSERT_FALSE(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)));  // the size is not known yet
  in = {};
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  packed.resize(out.pos);
  EXPECT_EQ(unpack(packed, Compression::kZstd, SIZE_MAX, {.max_window = 1 << 23}).value(), bytes);
  EXPECT_EQ(code_of(unpack(packed, Compression::kZstd, SIZE_MAX, {.max_window = 1 << 22})), Errc::kResourceExhausted);
}

TEST(Xz, RefusesMoreMemoryThanAllowed) {
  EXPECT_EQ(code_of(unpack(xz("data"), Compression::kXz, SIZE_MAX, {.max_window = 100'000})), Errc::kResourceExhausted);
}

TEST(Xz, TakesItsPadding) {
  EXPECT_EQ(unpack(xz("data") + std::string(8, '\0'), Compression::kXz).value(), "data");
  EXPECT_EQ(code_of(unpack(xz("data") + std::string(3, '\0'), Compression::kXz)), Errc::kInvalidArgument);
}

// ThreadedSource -----------------------------------------------------------------------------------------------------

class EndlessSource : public Source {
 public:
  Result<std::string_view> next() override { return std::string_view(bytes_); }

 private:
  std::string bytes_ = std::string(100'000, 'x');
};

TEST(ThreadedSource, GivesTheSameBytesAsItsInner) {
  std::string const bytes = sample(3'000'000);
  for (unsigned const buffers : {1u, 2u, 8u}) {
    for (std::size_t const chunk : {SIZE_MAX, std::size_t{300'000}, std::size_t{1000}, std::size_t{17}}) {
      MemorySource memory(bytes, chunk);
      ThreadedSource source(memory, buffers);
      EXPECT_TRUE(read_all(source, bytes.size()).value() == bytes) << buffers << " " << chunk;
      EXPECT_EQ(source.next().value(), "");
    }
  }
}

TEST(ThreadedSource, InflatesIntoItsOwnBuffers) {
  std::string const bytes = sample(1'000'000);
  for (Compression const compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    std::string const packed = compress(compression, bytes);
    MemorySource memory(packed, 50'000);
    Result<Detected> detected = decompress_any(memory);
    ASSERT_TRUE(detected.ok());
    ThreadedSource source(*detected->source, 3);
    EXPECT_TRUE(read_all(source, bytes.size()).value() == bytes);
    EXPECT_EQ(source.next().value(), "");
  }
}

TEST(ThreadedSource, GivesWhatCameBeforeAnErrorAndThenTheError) {
  std::string packed = gzip(sample(900'000));
  packed.resize(packed.size() - 5);
  MemorySource memory(packed);
  auto const inflated = decompress(memory, Compression::kGzip);
  ThreadedSource source(*inflated);
  std::string got;
  for (;;) {
    Result<std::string_view> const bytes = source.next();
    if (!bytes.ok()) {
      EXPECT_EQ(bytes.error().code(), Errc::kInvalidArgument);
      break;
    }
    ASSERT_FALSE(bytes->empty());
    got += *bytes;
  }
  EXPECT_TRUE(got == sample(900'000));
}

TEST(ThreadedSource, StopsAtItsEndOfLifeWhereverItIs) {
  for (int takes = 0; takes < 20; ++takes) {
    EndlessSource endless;
    ThreadedSource source(endless, 3);
    for (int i = 0; i < takes; ++i) ASSERT_FALSE(source.next().value().empty());
  }
}

}  // namespace
}  // namespace davit::codec
