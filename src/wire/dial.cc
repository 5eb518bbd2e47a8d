#include "wire/dial.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "sys/tcp_socket.h"

namespace davit::wire {

namespace {

constexpr std::chrono::milliseconds kHeadStart{300};

// The addresses being tried at once.
class Race {
 public:
  explicit Race(std::vector<sys::SocketAddress> addresses) : addresses_(std::move(addresses)) {}

  bool more() const { return next_ < addresses_.size(); }
  bool running() const { return !attempts_.empty(); }
  // Starts the next address; what fails at once is noted.
  void start_next();
  // The winner, an invalid descriptor when none has connected yet.
  UniqueFd winner();
  std::vector<pollfd> pollfds() const;
  std::string failures() const;

 private:
  struct Attempt {
    UniqueFd socket;
    std::string address;
  };
  void failed(std::string const& address, Error const& error) {
    std::string const why = error.error_number() != 0 ? std::strerror(error.error_number()) : error.to_string();
    failures_ += (failures_.empty() ? "" : "; ") + address + ": " + why;
  }

  std::vector<sys::SocketAddress> addresses_;
  std::size_t next_ = 0;
  std::vector<Attempt> attempts_;
  UniqueFd connected_;
  std::string failures_;
};

void Race::start_next() {
  sys::SocketAddress const& address = addresses_[next_++];
  Result<UniqueFd> socket = sys::tcp_socket(address);
  if (!socket) return failed(address.to_string(), socket.error());
  Result<sys::Connecting> const started = sys::start_connect(socket->get(), address);
  if (!started) return failed(address.to_string(), started.error());
  if (*started == sys::Connecting::kDone) {
    connected_ = std::move(*socket);
  } else {
    attempts_.push_back({std::move(*socket), address.to_string()});
  }
}

UniqueFd Race::winner() {
  if (connected_) return std::move(connected_);
  for (std::size_t i = 0; i < attempts_.size();) {
    pollfd ready{attempts_[i].socket.get(), POLLOUT, 0};
    Result<std::size_t> const count = sys::poll(std::span<pollfd>(&ready, 1), 0);
    if (count.ok() && *count == 0) {
      ++i;
      continue;
    }
    Result<void> const outcome = sys::connect_outcome(attempts_[i].socket.get());
    if (outcome) return std::move(attempts_[i].socket);
    failed(attempts_[i].address, outcome.error());
    attempts_.erase(attempts_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return UniqueFd();
}

std::vector<pollfd> Race::pollfds() const {
  std::vector<pollfd> fds;
  for (Attempt const& attempt : attempts_) fds.push_back({attempt.socket.get(), POLLOUT, 0});
  return fds;
}

std::string Race::failures() const {
  std::string text = failures_;
  for (Attempt const& attempt : attempts_) text += (text.empty() ? "" : "; ") + attempt.address + ": no answer in time";
  return text;
}

}  // namespace

Result<UniqueFd> dial(std::string const& host, std::uint16_t port, Waiter& waiter, Deadline deadline) {
  TRY(waiter.check());
  Race race(TRY(sys::resolve_host(host, port)));
  for (;;) {
    if (race.more()) race.start_next();
    if (UniqueFd socket = race.winner()) return socket;
    if (!race.running()) {
      if (race.more()) continue;
      break;
    }
    Deadline until = deadline;
    if (race.more()) until = std::min(deadline, std::chrono::steady_clock::now() + kHeadStart);
    bool const event = TRY(waiter.wait(race.pollfds(), until));
    if (UniqueFd socket = race.winner()) return socket;
    if (!event && until == deadline) break;
  }
  return Error(Errc::kUnavailable, "connect: " + race.failures());
}

}  // namespace davit::wire
