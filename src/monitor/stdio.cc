#include "monitor/stdio.h"

#include <fcntl.h>

#include <algorithm>

#include "sys/file.h"
#include "sys/polling.h"
#include "sys/unix_socket.h"

namespace davit::monitor {

namespace {
using namespace std::chrono_literals;
// How long the streams of an ended process may be held open by its descendants, as Docker has it.
constexpr auto kDrainGrace = 2s;
// A terminal that nobody holds open may be opened again by a process that lives.
constexpr auto kTerminalRetry = 100ms;
constexpr std::size_t kBusyPipeSize = 1 << 20;
}  // namespace

Result<std::unique_ptr<Stdio>> Stdio::create(loop::Loop& loop, IoScratch& scratch, StdioOptions options) {
  auto stdio = std::unique_ptr<Stdio>(new Stdio(loop, scratch, std::move(options)));
  if (!stdio->options_.terminal) {
    TRY(stdio->make_pipes());
    return stdio;
  }
  sys::SocketPair pair = TRY(sys::socket_pair(SOCK_STREAM));
  stdio->console_ = std::move(pair.first);
  stdio->console_child_ = std::move(pair.second);
  TRY(sys::set_nonblocking(stdio->console_.get()));
  stdio->outputs_[1].ended = true;  // a terminal has one output
  return stdio;
}

Result<void> Stdio::make_pipes() {
  if (options_.stdin_mode == StdinMode::kNull) {
    child_[0] = TRY(sys::open("/dev/null", O_RDONLY));
  } else {
    sys::Pipe pipe = TRY(sys::pipe());
    child_[0] = std::move(pipe.read_end);
    input_ = std::move(pipe.write_end);
    TRY(sys::set_nonblocking(input_.get()));
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    sys::Pipe pipe = TRY(sys::pipe());
    outputs_[i].fd = std::move(pipe.read_end);
    child_[i + 1] = std::move(pipe.write_end);
    TRY(sys::set_nonblocking(outputs_[i].fd.get()));
  }
  return {};
}

Result<void> Stdio::start() {
  for (UniqueFd& fd : child_) fd.reset();
  console_child_.reset();
  if (options_.terminal) {
    console_watch_ = TRY(loop_.watch(console_.get(), EPOLLIN, [this](std::uint32_t) { on_console(); }));
    return {};
  }
  for (Output& output : outputs_) TRY(watch_output(output));
  return {};
}

// The runtime sends the master of the container's pty (runc, docs/terminals.md).
void Stdio::on_console() {
  std::array<char, 256> name;
  Result<sys::Received> received = sys::recv_fds(console_.get(), name);
  if (received && received->would_block) return;
  console_watch_.reset();
  console_.reset();
  bool const good = received && received->fds.size() == 1 && take_terminal(std::move(received->fds[0])).ok();
  if (!good) end_output(outputs_[0]);  // creation has failed, and says so elsewhere
}

Result<void> Stdio::take_terminal(UniqueFd master) {
  // A second number for writing: each can then be waited for by itself.
  input_ = TRY(sys::duplicate(master.get()));
  outputs_[0].fd = std::move(master);
  TRY(sys::set_nonblocking(input_.get()));
  if (size_.width != 0) TRY(sys::set_terminal_size(input_.get(), size_));
  TRY(watch_output(outputs_[0]));
  for (auto const& client : clients_) client->resume_input();
  return {};
}

Result<void> Stdio::watch_output(Output& output) {
  output.watch = TRY(loop_.watch(output.fd.get(), EPOLLIN, [this, &output](std::uint32_t) { on_output(output); }));
  return {};
}

void Stdio::on_output(Output& output) {
  std::span<char> const bytes = scratch_.get();
  Result<sys::Transfer> const transfer = sys::read_now(output.fd.get(), bytes);
  if (transfer && transfer->state == sys::Transfer::State::kWouldBlock) return;
  if (transfer && transfer->state == sys::Transfer::State::kDone) {
    // A full default pipe: the container is faster than our wake-ups. The larger size costs memory only while it is
    // used, and refusal (a limit per user) only speed.
    if (!options_.terminal && !output.enlarged && transfer->size >= 60 * 1024) {
      output.enlarged = true;
      (void)sys::set_pipe_size(output.fd.get(), kBusyPipeSize);
    }
    return distribute(output, {bytes.data(), transfer->size});
  }
  if (options_.terminal && !process_ended_) {
    output.watch.reset();
    terminal_retry_ = loop_.after(kTerminalRetry, [this, &output] {
      if (!output.ended && !watch_output(output)) end_output(output);
    });
    return;
  }
  end_output(output);
}

void Stdio::distribute(Output& output, std::string_view data) {
  if (options_.log != nullptr) {
    options_.log->write(output.stream, data, sys::realtime_nanos());
    options_.log->flush();
  }
  for (auto const& client : clients_) client->deliver(output.stream, data);
  update_flow();
}

// Stops reading while a client is full; epoll would report a hang-up even with no events asked for, so the watch goes.
void Stdio::update_flow() {
  bool const wait = std::any_of(clients_.begin(), clients_.end(), [](auto const& client) { return client->full(); });
  for (Output& output : outputs_) {
    if (output.ended || !output.fd || terminal_retry_.active()) continue;
    if (wait) {
      output.watch.reset();
    } else if (!output.watch.active() && !watch_output(output)) {
      end_output(output);
    }
  }
}

void Stdio::end_output(Output& output) {
  if (output.ended) return;
  output.ended = true;
  output.watch.reset();
  output.fd.reset();
  if (options_.log != nullptr) {
    options_.log->finish(output.stream, sys::realtime_nanos());
    options_.log->flush();
  }
  check_drained();
}

void Stdio::end_all_outputs() {
  for (Output& output : outputs_) {
    // What is readable now was printed before; but not for ever, should somebody go on printing.
    for (int rounds = 0; rounds < 16 && !output.ended && output.fd; ++rounds) {
      std::span<char> const bytes = scratch_.get();
      Result<sys::Transfer> const transfer = sys::read_now(output.fd.get(), bytes);
      if (!transfer || transfer->state != sys::Transfer::State::kDone) break;
      distribute(output, {bytes.data(), transfer->size});
    }
    end_output(output);
  }
}

void Stdio::process_ended() {
  if (process_ended_) return;
  process_ended_ = true;
  close_stdin();
  console_watch_.reset();
  if (terminal_retry_.active()) {
    terminal_retry_.reset();
    end_output(outputs_[0]);
  }
  if (options_.terminal && !outputs_[0].fd) end_output(outputs_[0]);
  check_drained();
  if (drained_) return;
  drain_limit_ = loop_.after(kDrainGrace, [this] { end_all_outputs(); });
}

void Stdio::check_drained() {
  if (drained_ || !outputs_[0].ended || !outputs_[1].ended || !process_ended_) return;
  for (auto const& client : clients_) client->finish();
  bool const all_gone =
      std::all_of(clients_.begin(), clients_.end(), [](auto const& client) { return client->gone(); });
  if (!all_gone) return;
  drained_ = true;
  drain_limit_.reset();
  if (options_.drained) options_.drained();
}

Result<void> Stdio::attach(UniqueFd client, AttachOptions options) {
  if (drained_ || (outputs_[0].ended && outputs_[1].ended)) {
    return Error(Errc::kConflict, "the process has ended its output");
  }
  if (options_.terminal) options.framed = false;
  bool const has_input = options_.terminal || (options_.stdin_mode != StdinMode::kNull && input_);
  bool const wanted_input = options.want_stdin;
  options.want_stdin = wanted_input && has_input;
  AttachClient::Events events;
  events.input = [this](std::string_view data) { return write_input(data); };
  events.input_ended = [this] {
    if (!options_.terminal && options_.stdin_mode == StdinMode::kOnce) close_stdin();
  };
  events.gone = [this](bool detached) {
    if (detached && options_.detached) options_.detached();
    // Later: the client is on the stack now.
    cleanup_ = loop_.after(0ns, [this] { drop_gone_clients(); });
  };
  events.room = [this] { update_flow(); };
  clients_.push_back(TRY(AttachClient::create(loop_, std::move(client), std::move(options), std::move(events))));
  return {};
}

void Stdio::drop_gone_clients() {
  clients_.remove_if([](auto const& client) { return client->gone(); });
  update_flow();
  check_drained();
}

// Bytes that the container's input has taken.
std::size_t Stdio::write_input(std::string_view data) {
  if (!input_)
    return options_.terminal && !process_ended_ ? 0 : data.size();  // a terminal that is yet to come, or no reader
  Result<sys::Transfer> const transfer = sys::write_now(input_.get(), data);
  if (!transfer || transfer->state == sys::Transfer::State::kEnd) {
    close_stdin();
    return data.size();
  }
  if (transfer->size < data.size() && !input_watch_.active()) {
    Result<loop::Watch> watch = loop_.watch(input_.get(), EPOLLOUT, [this](std::uint32_t) { on_input_room(); });
    if (watch) input_watch_ = std::move(watch).value();
  }
  return transfer->size;
}

void Stdio::on_input_room() {
  input_watch_.reset();
  for (auto const& client : clients_) client->resume_input();
}

void Stdio::close_stdin() {
  input_watch_.reset();
  input_.reset();
  for (auto const& client : clients_) client->resume_input();  // what they hold is dropped
}

Result<void> Stdio::resize(sys::TerminalSize size) {
  if (!options_.terminal) return Error(Errc::kConflict, "the process has no terminal");
  size_ = size;
  return input_ ? sys::set_terminal_size(input_.get(), size) : Result<void>();
}

}  // namespace davit::monitor
