#include "monitor/attach_client.h"

#include <array>

#include "monitor/stream_frame.h"
#include "sys/pipe.h"
#include "sys/unix_socket.h"

namespace davit::monitor {

namespace {
constexpr std::size_t kInputSize = 16 * 1024;
}

Result<std::unique_ptr<AttachClient>> AttachClient::create(loop::Loop& loop, UniqueFd client, AttachOptions options,
                                                           Events events) {
  TRY_CTX(sys::check_stream_socket(client.get()), "attach");
  auto attached =
      std::unique_ptr<AttachClient>(new AttachClient(loop, std::move(client), std::move(options), std::move(events)));
  AttachClient* const self = attached.get();
  self->input_open_ = self->options_.want_stdin;
  self->watch_ = TRY(loop.watch(self->socket_.get(), self->input_open_ ? EPOLLIN : 0U,
                                [self](std::uint32_t ready) { self->on_ready(ready); }));
  if (self->input_open_ && !self->options_.leftover.empty()) self->take_input(self->options_.leftover);
  self->options_.leftover = {};
  return attached;
}

void AttachClient::deliver(log::Stream stream, std::string_view data) {
  if (gone_ || data.empty()) return;
  if (stream == log::Stream::kStdout ? !options_.want_stdout : !options_.want_stderr) return;
  auto const header = frame_header(stream, static_cast<std::uint32_t>(data.size()));
  std::string_view head = options_.framed ? std::string_view(header.data(), header.size()) : std::string_view();
  if (queue_.empty()) {
    Result<std::size_t> const sent = sys::send_now(socket_.get(), head.empty() ? data : head, head.empty() ? "" : data);
    if (!sent) return leave(false);
    std::size_t const of_head = std::min(*sent, head.size());
    head.remove_prefix(of_head);
    data.remove_prefix(*sent - of_head);
  }
  queue_.append(head);
  queue_.append(data);
  if (full() && !was_full_) {
    was_full_ = true;
    start_grace();
  }
  update_watch();
}

void AttachClient::start_grace() {
  queue_at_grace_ = queue_.size();
  grace_ = loop_.after(kGrace, [this] {
    bool const progress = queue_at_grace_ >= queue_.size() + kProgress;
    if ((full() || finishing_) && !progress) return leave(false);
    if (full() || finishing_) start_grace();
  });
}

void AttachClient::finish() {
  if (gone_ || finishing_) return;
  finishing_ = true;
  if (queue_.empty()) return leave(false);
  start_grace();
}

void AttachClient::on_ready(std::uint32_t ready) {
  if ((ready & EPOLLOUT) != 0) send_queue();
  if (!gone_ && (ready & EPOLLIN) != 0 && input_open_ && input_.empty()) read_input();
  // Hang-up of both directions; with input still to be read, end of file tells of it first.
  if (!gone_ && (ready & (EPOLLHUP | EPOLLERR)) != 0 && (ready & EPOLLIN) == 0) leave(false);
}

void AttachClient::read_input() {
  std::array<char, kInputSize> bytes;
  Result<sys::Transfer> const transfer = sys::read_now(socket_.get(), bytes);
  if (!transfer) return leave(false);
  if (transfer->state == sys::Transfer::State::kWouldBlock) return;
  if (transfer->state == sys::Transfer::State::kEnd) return end_input();
  take_input({bytes.data(), transfer->size});
}

void AttachClient::take_input(std::string_view data) {
  detaching_ = keys_.feed(data, input_);
  pass_input();
}

void AttachClient::pass_input() {
  if (!input_.empty()) input_.erase(0, events_.input(input_));
  // What came before the detach keys still belongs to the container, but a full container must not hold the user.
  if (detaching_) return leave(true);
  update_watch();
}

void AttachClient::resume_input() {
  if (!gone_ && !input_.empty()) pass_input();
}

void AttachClient::end_input() {
  input_open_ = false;
  update_watch();
  events_.input_ended();
}

void AttachClient::send_queue() {
  while (!queue_.empty()) {
    Result<std::size_t> const sent = sys::send_now(socket_.get(), queue_.view());
    if (!sent) return leave(false);
    if (*sent == 0) break;
    queue_.consume(*sent);
  }
  if (was_full_ && queue_.size() + kProgress < kHighWater) {
    was_full_ = false;
    if (!finishing_) grace_.reset();
    events_.room();
  }
  if (queue_.empty()) {
    queue_.release();
    if (finishing_) return leave(false);
  }
  update_watch();
}

void AttachClient::update_watch() {
  if (gone_) return;
  std::uint32_t const input = input_open_ && input_.empty() ? EPOLLIN : 0U;
  watch_.set_events(input | (queue_.empty() ? 0U : EPOLLOUT));
}

void AttachClient::leave(bool detached) {
  if (gone_) return;
  gone_ = true;
  grace_.reset();
  watch_.reset();
  socket_.reset();
  queue_.release();
  if (std::exchange(input_open_, false)) events_.input_ended();
  events_.gone(detached);
}

}  // namespace davit::monitor
