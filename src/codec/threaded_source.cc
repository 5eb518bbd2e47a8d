// ThreadedSource: a ring of buffers between the thread that reads the inner source and the one that calls next().
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "codec/compression.h"
#include "codec/fillable_source.h"

namespace davit::codec {
namespace {

constexpr std::size_t kBufferSize = std::size_t{256} << 10;

struct Buffer {
  std::unique_ptr<char[]> data;
  std::size_t size = 0;
};

}  // namespace

// Buffers are numbered from 0 for ever. The producer fills number `filled`, the consumer holds number `taken`: each
// touches its buffer without the lock.
struct ThreadedSource::Body {
  Body(Source& source, unsigned count) : inner(source), buffers(std::max(count, 2u)) {}

  void produce() {
    if (auto* const fillable = dynamic_cast<FillableSource*>(&inner)) return produce_in_place(*fillable);
    for (;;) {
      Result<std::string_view> got = inner.next();
      if (!got.ok()) return end(std::move(got).take_error());
      if (got->empty()) return end(std::nullopt);
      if (!append(*got)) return;
    }
  }

  void produce_in_place(FillableSource& source) {
    for (;;) {
      Buffer& buffer = own_buffer();
      Result<std::size_t> got = source.fill({buffer.data.get(), kBufferSize});
      if (!got.ok()) return end(std::move(got).take_error());
      if (*got == 0) return end(std::nullopt);
      buffer.size = *got;
      if (!hand_over(true)) return;
    }
  }

  Buffer& own_buffer() {
    Buffer& buffer = buffers[slot(filling)];
    if (!buffer.data) buffer.data = std::make_unique_for_overwrite<char[]>(kBufferSize);
    return buffer;
  }

  // False when the consumer went away.
  bool append(std::string_view bytes) {
    while (!bytes.empty()) {
      Buffer& buffer = own_buffer();
      std::size_t const count = std::min(bytes.size(), kBufferSize - buffer.size);
      std::memcpy(buffer.data.get() + buffer.size, bytes.data(), count);
      buffer.size += count;
      bytes.remove_prefix(count);
      if (!hand_over(buffer.size == kBufferSize)) return false;
    }
    return true;
  }

  // Small pieces are gathered as long as the consumer has other buffers to read.
  bool hand_over(bool full) {
    std::unique_lock lock(mutex);
    if (stop) return false;
    if (!full && filled > taken) return true;
    filled = ++filling;
    ready.notify_one();
    // The next one is free when the consumer holds a later one or this one's successor in the ring.
    room.wait(lock, [&] { return stop || filling - released < buffers.size(); });
    buffers[slot(filling)].size = 0;
    return !stop;
  }

  void end(std::optional<Error> failure) {
    std::lock_guard const lock(mutex);
    if (buffers[slot(filling)].size > 0) filled = ++filling;
    error = std::move(failure);
    ended = true;
    ready.notify_one();
  }

  Result<std::string_view> next() {
    std::unique_lock lock(mutex);
    released = taken;  // what the call before gave
    room.notify_one();
    ready.wait(lock, [&] { return ended || taken < filled; });
    if (taken < filled) {
      Buffer const& buffer = buffers[slot(taken++)];
      return std::string_view(buffer.data.get(), buffer.size);
    }
    if (error) return std::move(*error);
    return std::string_view();
  }

  std::size_t slot(std::uint64_t number) const { return static_cast<std::size_t>(number % buffers.size()); }

  Source& inner;
  std::vector<Buffer> buffers;
  std::uint64_t filling = 0;  // the producer's
  std::thread thread;
  std::mutex mutex;
  std::condition_variable ready, room;
  // Under mutex:
  std::uint64_t filled = 0;    // buffers below this are the consumer's
  std::uint64_t taken = 0;     // next() gave those below
  std::uint64_t released = 0;  // and is done with those below
  bool ended = false, stop = false;
  std::optional<Error> error;
};

ThreadedSource::ThreadedSource(Source& inner, unsigned buffers) : body_(std::make_unique<Body>(inner, buffers)) {}

ThreadedSource::~ThreadedSource() {
  {
    std::lock_guard const lock(body_->mutex);
    body_->stop = true;
  }
  body_->room.notify_one();
  if (body_->thread.joinable()) body_->thread.join();
}

Result<std::string_view> ThreadedSource::next() {
  if (!body_->thread.joinable()) {
    try {
      body_->thread = std::thread([body = body_.get()] { body->produce(); });
    } catch (std::system_error const& failure) {
      return Error(Errc::kResourceExhausted, "start a thread", failure.code().value());
    }
  }
  return body_->next();
}

}  // namespace davit::codec
