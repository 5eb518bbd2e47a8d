// GzipSink: one member, its blocks deflated by several threads in the manner of pigz. What each block becomes depends
// on its bytes and the 32 KiB before it alone.
#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "codec/compression.h"
#include "codec/gzip_block.h"

namespace davit::codec {
namespace {

// Magic, deflate, no flags, no time, no hint, and 255 for an unknown system: nothing that depends on where it was made.
constexpr std::string_view kHeader("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
// An empty final block with fixed codes: the blocks before it need not know that one of them is the last.
constexpr std::string_view kEnd("\x03\0", 2);

void append_u32(std::string& out, std::uint32_t value) {
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xff);
}

// Blocks in a ring, numbered from 0 for ever: the caller fills `filling`, workers take `taken` up to it, and the caller
// writes `written` up to that once each is done.
struct Ring {
  explicit Ring(std::size_t size) : blocks(size), done(size) {}
  std::size_t slot(std::uint64_t number) const { return static_cast<std::size_t>(number % blocks.size()); }

  std::vector<GzipBlock> blocks;
  std::mutex mutex;
  std::condition_variable work, finished;
  // Under mutex:
  std::vector<char> done;  // by slot
  std::uint64_t filling = 0, taken = 0;
  bool stop = false;
};

void deflate_blocks(Ring& ring, int level) {
  Deflater deflater(level);
  std::unique_lock lock(ring.mutex);
  for (;;) {
    ring.work.wait(lock, [&] { return ring.stop || ring.taken < ring.filling; });
    if (ring.stop) return;
    std::size_t const slot = ring.slot(ring.taken++);
    lock.unlock();
    deflater.deflate(ring.blocks[slot]);
    lock.lock();
    ring.done[slot] = 1;
    ring.finished.notify_one();
  }
}

}  // namespace

struct GzipSink::Body {
  // Two blocks more than threads: one being filled, one waiting to be written.
  Body(Sink& sink, GzipOptions chosen)
      : out(sink), options(chosen), ring(chosen.threads == 0 ? 1 : chosen.threads + 2) {
    DAVIT_CHECK(options.level >= 0 && options.level <= 3);
  }
  Body(Body const&) = delete;
  Body& operator=(Body const&) = delete;
  ~Body() { stop_threads(); }

  Result<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      GzipBlock& block = ring.blocks[ring.slot(filling)];
      block.fill(bytes);
      if (block.full()) TRY(submit());
    }
    return {};
  }

  Result<void> finish() {
    if (ring.blocks[ring.slot(filling)].size > 0) TRY(submit());
    while (written < filling) TRY(write_oldest());
    stop_threads();
    std::string end;
    if (!header_written) end = kHeader;
    end += kEnd;
    append_u32(end, crc);
    append_u32(end, static_cast<std::uint32_t>(total));
    return out.write(end);
  }

 private:
  // Gives the filled block away and makes the next one ready to be filled.
  Result<void> submit() {
    start_threads();
    GzipBlock& block = ring.blocks[ring.slot(filling)];
    if (threads.empty()) {
      if (!own) own.emplace(options.level);
      own->deflate(block);
    }
    {
      std::lock_guard const lock(ring.mutex);
      ring.done[ring.slot(filling)] = threads.empty();
      ring.filling = ++filling;
      if (threads.empty()) ring.taken = filling;
    }
    ring.work.notify_one();
    // A ring of one block has to be written before it is filled again; a larger one as soon as something is done.
    while (written < filling && (filling - written == ring.blocks.size() || oldest_done())) TRY(write_oldest());
    ring.blocks[ring.slot(filling)].follow(block);
    return {};
  }

  bool oldest_done() {
    std::lock_guard const lock(ring.mutex);
    return ring.done[ring.slot(written)] != 0;
  }

  Result<void> write_oldest() {
    {
      std::unique_lock lock(ring.mutex);
      ring.finished.wait(lock, [&] { return ring.done[ring.slot(written)] != 0; });
      ring.done[ring.slot(written)] = 0;
    }
    GzipBlock const& block = ring.blocks[ring.slot(written)];
    if (!header_written) TRY(out.write(kHeader));
    header_written = true;
    TRY(out.write({block.output.get(), block.output_size}));
    crc = combine_crc32(crc, block.crc, block.size);
    total += block.size;
    ++written;
    return {};
  }

  // Data of one block never need one. Fewer threads than asked, or none, only cost time.
  void start_threads() {
    if (started) return;
    started = true;
    try {
      while (threads.size() < options.threads) {
        threads.emplace_back([this] { deflate_blocks(ring, options.level); });
      }
    } catch (std::system_error const&) {
    }
  }

  void stop_threads() {
    {
      std::lock_guard const lock(ring.mutex);
      ring.stop = true;
    }
    ring.work.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  Sink& out;
  GzipOptions options;
  Ring ring;
  std::vector<std::thread> threads;
  std::optional<Deflater> own;  // without threads
  bool started = false;
  std::uint64_t filling = 0, written = 0;
  bool header_written = false;
  std::uint32_t crc = 0;
  std::uint64_t total = 0;

 public:
  bool finished = false;
};

GzipSink::GzipSink(Sink& out, GzipOptions options) : body_(std::make_unique<Body>(out, options)) {}
GzipSink::~GzipSink() = default;

Result<void> GzipSink::write(std::string_view bytes) {
  DAVIT_CHECK(!body_->finished);
  return body_->write(bytes);
}

Result<void> GzipSink::finish() {
  if (body_->finished) return {};
  body_->finished = true;
  return body_->finish();
}

}  // namespace davit::codec
