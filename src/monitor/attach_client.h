// AttachClient: one user attached to a container or an exec session, through a socket that was handed over and is ours
// now. Output is sent at once or queued; a queue that stays full for kGrace ends the client
// (docs/wire/monitor-control.md). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"
#include "monitor/buffer.h"
#include "monitor/detach_keys.h"
#include "monitor/log/entry.h"

namespace davit::monitor {

struct AttachOptions {
  bool want_stdin = false, want_stdout = true, want_stderr = true;
  bool framed = true;       // 8-byte frames (monitor/stream_frame.h); else the bytes as they are
  std::string detach_keys;  // bytes of the sequence; empty: none
  std::string leftover;     // what the engine has already read from the client
};

class AttachClient {
 public:
  struct Events {
    // The client's input; what is not taken is offered again after resume_input().
    std::function<std::size_t(std::string_view)> input;
    std::function<void()> input_ended;
    // The client must be destroyed; not from within this call, but soon. detached: it used its detach keys.
    std::function<void(bool detached)> gone;
    std::function<void()> room;  // full() has become false
  };

  // client: a stream socket (kInvalidArgument for anything else).
  static Result<std::unique_ptr<AttachClient>> create(loop::Loop& loop, UniqueFd client, AttachOptions options,
                                                      Events events);

  void deliver(log::Stream stream, std::string_view data);
  // The container's output must wait for this client.
  bool full() const { return queue_.size() >= kHighWater && !gone_; }
  void resume_input();
  // No more output will come: what is queued is sent, then the client's connection is closed.
  void finish();
  bool gone() const { return gone_; }

  static constexpr std::size_t kHighWater = 1 << 20;
  // A full client must take this much within kGrace, again and again, or it is dropped: 2 KiB a second keeps it.
  static constexpr std::size_t kProgress = 64 << 10;
  static std::chrono::seconds constexpr kGrace{30};

 private:
  AttachClient(loop::Loop& loop, UniqueFd client, AttachOptions options, Events events)
      : loop_(loop),
        socket_(std::move(client)),
        options_(std::move(options)),
        events_(std::move(events)),
        keys_(options_.detach_keys) {}
  void on_ready(std::uint32_t events);
  void read_input();
  void take_input(std::string_view data);
  void pass_input();
  void end_input();
  void send_queue();
  void leave(bool detached);
  void update_watch();
  void start_grace();

  loop::Loop& loop_;
  UniqueFd socket_;
  AttachOptions options_;
  Events events_;
  DetachKeys keys_;
  Buffer queue_;       // for the client
  std::string input_;  // from the client, not taken yet
  bool input_open_ = false, detaching_ = false, finishing_ = false, gone_ = false, was_full_ = false;
  std::size_t queue_at_grace_ = 0;
  loop::Timer grace_;
  loop::Watch watch_;  // last: ends before the socket closes
};

}  // namespace davit::monitor
