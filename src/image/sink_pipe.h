// SinkPipe: turns what a function writes into a Source, by running it on a thread of its own.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "codec/stream.h"

namespace davit::image {

// At most a few hundred KiB are buffered. The function's error comes out of next(). The destructor makes the function's
// next write fail, and joins.
class SinkPipe : public codec::Source {
 public:
  using Produce = std::function<Result<void>(codec::Sink&)>;
  explicit SinkPipe(Produce produce);
  SinkPipe(SinkPipe const&) = delete;
  ~SinkPipe() override;
  Result<std::string_view> next() override;

 private:
  class Writer;
  Result<void> flush(std::string& bytes);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string full_, taken_;  // full_: written, not taken; taken_: what next() lent
  bool closed_ = false, ended_ = false;
  std::optional<Error> error_;
  std::thread thread_;
};

}  // namespace davit::image
