// What each stage of an image's way costs, on one file: codec_speed FILE. A compressed file is inflated, any other one
// deflated as well. Prints MB/s of unpacked bytes (of packed ones where the stage sees those), the best of some runs.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>

#include "codec/compression.h"
#include "codec/hash.h"
#include "loop/fd_stream.h"
#include "sys/file.h"

namespace {

using namespace davit;
using namespace davit::codec;

constexpr int kRuns = 5;

double seconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

class NullSink : public Sink {
 public:
  Result<void> write(std::string_view bytes) override {
    size += bytes.size();
    return {};
  }
  std::uint64_t size = 0;
};

std::uint64_t drain(Source& source) {
  NullSink sink;
  return copy(source, sink).value();
}

// work returns the bytes by which the speed is counted.
void measure(std::string_view name, std::function<std::uint64_t()> const& work) {
  double best = 1e9;
  double processor = 0;
  std::uint64_t bytes = 0;
  for (int run = 0; run < kRuns; ++run) {
    double const start = seconds(CLOCK_MONOTONIC);
    double const used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    bytes = work();
    double const took = seconds(CLOCK_MONOTONIC) - start;
    if (took >= best) continue;
    best = took;
    processor = seconds(CLOCK_PROCESS_CPUTIME_ID) - used;
  }
  fmt::print("{:<44} {:8.1f} MB/s  {:6.3f} s  {:6.3f} s of processor\n", name, static_cast<double>(bytes) / best / 1e6,
             best, processor);
  std::fflush(stdout);
}

void unpack(std::string const& path, std::string const& packed, Compression compression) {
  measure("read", [&] {
    UniqueFd const fd = sys::open(path, O_RDONLY).value();
    loop::FdSource file(fd.get());
    return drain(file);
  });
  measure("sha256 of the packed bytes", [&] {
    MemorySource memory(packed);
    HashingSource hashed(memory);
    return drain(hashed);
  });
  auto const chain = [&](std::string_view name, auto const& then) {
    measure(name, [&] {
      UniqueFd const fd = sys::open(path, O_RDONLY).value();
      loop::FdSource file(fd.get());
      HashingSource hashed(file);
      auto const inflated = decompress(hashed, compression);
      return then(*inflated);
    });
  };
  measure("inflate from memory", [&] {
    MemorySource memory(packed, 256 << 10);
    auto const inflated = decompress(memory, compression);
    return drain(*inflated);
  });
  measure("inflate from memory in a thread", [&] {
    MemorySource memory(packed, 256 << 10);
    auto const inflated = decompress(memory, compression);
    ThreadedSource threaded(*inflated);
    return drain(threaded);
  });
  chain("read, sha256, inflate", [](Source& inflated) { return drain(inflated); });
  chain("read, sha256, inflate, sha256", [](Source& inflated) {
    HashingSource hashed(inflated);
    return drain(hashed);
  });
  chain("read, sha256, inflate | thread | sha256", [](Source& inflated) {
    ThreadedSource threaded(inflated);
    HashingSource hashed(threaded);
    return drain(hashed);
  });
}

void pack(std::string const& plain) {
  measure("sha256", [&] {
    MemorySource memory(plain, 256 << 10);
    HashingSource hashed(memory);
    return drain(hashed);
  });
  for (int level = 0; level <= 3; ++level) {
    for (unsigned const threads : {0u, 1u, 2u}) {
      std::uint64_t size = 0;
      measure(fmt::format("gzip level {} threads {}", level, threads), [&] {
        MemorySource memory(plain, 256 << 10);
        NullSink out;
        GzipSink sink(out, {.level = level, .threads = threads});
        std::uint64_t const bytes = copy(memory, sink).value();
        sink.finish().value();
        size = out.size;
        return bytes;
      });
      if (threads == 0) fmt::print("  {} bytes\n", size);
    }
  }
  measure("zstd level 1", [&] {
    MemorySource memory(plain, 256 << 10);
    NullSink out;
    ZstdSink sink(out, 1);
    std::uint64_t const bytes = copy(memory, sink).value();
    sink.finish().value();
    return bytes;
  });
  measure("sha256 of 1 KiB, each alone", [&] {
    std::uint64_t bytes = 0;
    for (; bytes < 100'000 * 1024 && bytes + 1024 <= plain.size(); bytes += 1024) {
      (void)sha256_hex(std::string_view(plain).substr(bytes, 1024));
    }
    return bytes;
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: codec_speed FILE\n");
    return 2;
  }
  std::string const path = argv[1];
  std::string const bytes = sys::read_file(path, std::size_t{4} << 30).value();
  Compression const compression = detect_compression(bytes);
  fmt::print("{}: {} bytes, {}\n", path, bytes.size(), compression_name(compression));
  if (compression == Compression::kNone) {
    pack(bytes);
  } else {
    unpack(path, bytes, compression);
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print("peak memory: {:.1f} MiB with the file itself\n", static_cast<double>(usage.ru_maxrss) / 1024);
  return 0;
}
