// An HTTP server for tests: a thread per connection, answers given by a function, raw bytes where wanted. Tests only.
//
//   HttpServer server([](RecordedRequest const& request) {
//     return request.target == "/hello" ? Answer::of(200, "hi") : Answer::of(404, "");
//   });
//   client.send({.url = Url::parse(server.url("/hello")).value()});
//
// tls_server.h makes a certificate and the Secure that speaks TLS.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/tcp_socket.h"
#include "sys/unix_socket.h"

namespace davit::wire::testing {

// The server's side of a connection; blocking. False: the connection is gone.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual std::size_t read(char* out, std::size_t size) = 0;  // 0 at the end
  virtual bool write(std::string_view bytes) = 0;
};

class PlainChannel : public Channel {
 public:
  explicit PlainChannel(int socket) : socket_(socket) {}
  std::size_t read(char* out, std::size_t size) override {
    ssize_t const count = ::recv(socket_, out, size, 0);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  bool write(std::string_view bytes) override {
    while (!bytes.empty()) {
      ssize_t const count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

 private:
  int socket_;
};

// Makes the encrypted channel of an accepted socket; nullptr when the handshake fails.
using Secure = std::function<std::unique_ptr<Channel>(int socket)>;

inline bool equal_names(std::string_view a, std::string_view b) {
  auto const same = [](char x, char y) { return (x | 0x20) == (y | 0x20); };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), same);
}

struct RecordedRequest {
  std::string method, target;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;    // without the framing
  int connection = 0;  // 1 for the first that was accepted

  std::string header(std::string_view name) const {  // "" when absent
    for (auto const& [key, value] : headers) {
      if (equal_names(key, name)) return value;
    }
    return "";
  }
};

struct Answer {
  std::string bytes{};                                    // sent as they are
  bool close = false;                                     // the connection, afterwards
  std::function<void(Channel&)> script{};                 // instead of bytes: writes (and reads) what it likes
  std::optional<std::function<void(Channel&)>> tunnel{};  // after bytes: the connection is this function's (CONNECT)

  using Headers = std::vector<std::pair<std::string, std::string>>;
  // A well-formed response with a Content-Length.
  static Answer of(int status, std::string_view body, Headers const& headers = {}) {
    std::string text =
        "HTTP/1.1 " + std::to_string(status) + " Test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    for (auto const& [name, value] : headers) text += name + ": " + value + "\r\n";
    return {.bytes = text + "\r\n" + std::string(body)};
  }
  static Answer raw(std::string bytes, bool close = false) { return {.bytes = std::move(bytes), .close = close}; }
  static Answer run(std::function<void(Channel&)> script) { return {.close = true, .script = std::move(script)}; }
};

class HttpServer {
 public:
  using Handler = std::function<Answer(RecordedRequest const&)>;

  // handler: called on the connections' threads, at the same time by several. early: asked when the head of a request
  // is there and its body is not; an answer of it is sent without reading the body.
  explicit HttpServer(Handler handler, Secure secure = {},
                      std::function<std::optional<Answer>(RecordedRequest const&)> early = {})
      : handler_(std::move(handler)), secure_(std::move(secure)), early_(std::move(early)) {
    listener_ = sys::listen_tcp("127.0.0.1", 0).value();
    port_ = sys::local_port(listener_.get()).value();
    acceptor_ = std::jthread([this](std::stop_token stop) { accept_all(stop); });
  }
  HttpServer(HttpServer const&) = delete;
  HttpServer& operator=(HttpServer const&) = delete;
  ~HttpServer() {
    acceptor_.request_stop();
    acceptor_.join();
    {
      std::lock_guard const lock(mutex_);
      for (UniqueFd const& socket : sockets_) sys::shutdown_both(socket.get());
    }
    threads_.clear();
  }

  std::uint16_t port() const { return port_; }
  std::string origin() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url(std::string_view target = "/") const {
    return (secure_ ? "https://" : "http://") + origin() + std::string(target);
  }
  std::vector<RecordedRequest> requests() const {
    std::lock_guard const lock(mutex_);
    return requests_;
  }
  int connections() const {
    std::lock_guard const lock(mutex_);
    return static_cast<int>(sockets_.size());
  }
  // Ends every open connection, as a restarted server does.
  void drop_connections() {
    std::lock_guard const lock(mutex_);
    for (UniqueFd const& socket : sockets_) sys::shutdown_both(socket.get());
  }

 private:
  void accept_all(std::stop_token stop) {
    while (!stop.stop_requested()) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (sys::poll(std::span<pollfd>(&ready, 1), 10).value() == 0) continue;
      UniqueFd socket = sys::accept(listener_.get(), sys::Blocking::kYes).value();
      if (!socket) continue;
      int const fd = socket.get();
      std::lock_guard const lock(mutex_);
      sockets_.push_back(std::move(socket));
      threads_.emplace_back([this, fd, number = static_cast<int>(sockets_.size())] { serve(fd, number); });
    }
  }

  void serve(int fd, int number) {
    std::unique_ptr<Channel> channel = secure_ ? secure_(fd) : std::make_unique<PlainChannel>(fd);
    std::string input;
    while (channel != nullptr && serve_one(*channel, input, number)) {
    }
    channel.reset();
    sys::shutdown_both(fd);
  }

  static bool more(Channel& channel, std::string& input) {
    char buffer[65536];
    std::size_t const size = channel.read(buffer, sizeof buffer);
    input.append(buffer, size);
    return size > 0;
  }

  // Reads one request and answers it; false: the connection ends.
  bool serve_one(Channel& channel, std::string& input, int number) {
    std::size_t end;
    while ((end = input.find("\r\n\r\n")) == std::string::npos) {
      if (!more(channel, input)) return false;
    }
    RecordedRequest request = parse_head(std::string_view(input).substr(0, end));
    request.connection = number;
    input.erase(0, end + 4);
    std::optional<Answer> answer;
    if (early_) answer = early_(request);
    if (!answer) {
      if (!read_body(channel, input, request)) return false;
      answer = handler_(request);
    }
    {
      std::lock_guard const lock(mutex_);
      requests_.push_back(std::move(request));
    }
    if (answer->script) answer->script(channel);
    if (!channel.write(answer->bytes)) return false;
    if (answer->tunnel) (*answer->tunnel)(channel);
    return !answer->close && !answer->tunnel;
  }

  static RecordedRequest parse_head(std::string_view head) {
    RecordedRequest request;
    bool first = true;
    while (!head.empty()) {
      std::size_t const end = std::min(head.find("\r\n"), head.size());
      std::string_view const line = head.substr(0, end);
      head.remove_prefix(std::min(end + 2, head.size()));
      if (std::exchange(first, false)) {
        std::size_t const space = line.find(' ');
        request.method = line.substr(0, space);
        request.target = line.substr(space + 1, line.rfind(' ') - space - 1);
        continue;
      }
      std::size_t const colon = line.find(": ");
      request.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
    return request;
  }

  static bool read_body(Channel& channel, std::string& input, RecordedRequest& request) {
    if (request.header("Transfer-Encoding") == "chunked") return read_chunks(channel, input, request.body);
    std::string const length = request.header("Content-Length");
    std::size_t const size = length.empty() ? 0 : std::stoull(length);
    while (input.size() < size) {
      if (!more(channel, input)) return false;
    }
    request.body = input.substr(0, size);
    input.erase(0, size);
    return true;
  }

  static bool read_chunks(Channel& channel, std::string& input, std::string& body) {
    for (;;) {
      std::size_t end;
      while ((end = input.find("\r\n")) == std::string::npos) {
        if (!more(channel, input)) return false;
      }
      std::size_t const size = std::stoull(input.substr(0, end), nullptr, 16);
      while (input.size() < end + 2 + size + 2) {
        if (!more(channel, input)) return false;
      }
      body.append(input, end + 2, size);
      input.erase(0, end + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  Handler handler_;
  Secure secure_;
  std::function<std::optional<Answer>(RecordedRequest const&)> early_;
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<RecordedRequest> requests_;
  std::vector<UniqueFd> sockets_;  // kept until the end, so that their numbers stay theirs
  std::vector<std::jthread> threads_;
  std::jthread acceptor_;
};

}  // namespace davit::wire::testing
