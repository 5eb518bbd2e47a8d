#include "image/sink_pipe.h"

namespace davit::image {

constexpr std::size_t kBufferSize = 256 * 1024;

// Collects small writes (tar headers), so that the threads meet once per buffer.
class SinkPipe::Writer : public codec::Sink {
 public:
  explicit Writer(SinkPipe& pipe) : pipe_(pipe) {}
  Result<void> write(std::string_view bytes) override {
    buffer_.append(bytes);
    if (buffer_.size() < kBufferSize) return {};
    return pipe_.flush(buffer_);
  }
  Result<void> finish() { return pipe_.flush(buffer_); }

 private:
  SinkPipe& pipe_;
  std::string buffer_;
};

Result<void> SinkPipe::flush(std::string& bytes) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return full_.empty() || closed_; });
  if (closed_) return Error(Errc::kCancelled, "nobody reads any more");
  full_.swap(bytes);
  bytes.clear();
  lock.unlock();
  changed_.notify_all();
  return {};
}

SinkPipe::SinkPipe(Produce produce) {
  thread_ = std::thread([this, produce = std::move(produce)] {
    Writer writer(*this);
    Result<void> done = produce(writer);
    if (done) done = writer.finish();
    {
      std::lock_guard const lock(mutex_);
      ended_ = true;
      if (!done) error_.emplace(std::move(done).take_error());
    }
    changed_.notify_all();
  });
}

SinkPipe::~SinkPipe() {
  {
    std::lock_guard const lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::string_view> SinkPipe::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !full_.empty() || ended_; });
  taken_.clear();
  taken_.swap(full_);
  std::optional<Error> error;
  if (taken_.empty()) error = std::exchange(error_, std::nullopt);
  lock.unlock();
  changed_.notify_all();
  if (error) return std::move(*error);
  return std::string_view(taken_);
}

}  // namespace davit::image
