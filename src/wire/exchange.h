// One request and its response on one connection. Internal to wire. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/connection_pool.h"
#include "wire/http_client.h"
#include "wire/response_parser.h"
#include "wire/wait.h"

namespace davit::wire {

struct ExchangeOptions {
  HttpTimeouts timeouts;
  std::size_t max_header_bytes = 65536;
};

class Exchange : public HttpResponse {
 public:
  // pool may be empty: the connection is then closed in the end. waiter and connection must not be.
  Exchange(ExchangeOptions options, std::shared_ptr<ConnectionPool> pool, std::unique_ptr<Waiter> waiter,
           std::unique_ptr<Connection> connection);
  ~Exchange() override;

  // Sends the head and the request's body, and reads until the response's head is complete.
  Result<void> run(std::string const& head, HttpRequest const& request);
  // After run() has failed: nothing came back and nothing that cannot be repeated went out.
  bool may_repeat() const { return !received_ && !body_taken_; }
  std::unique_ptr<Waiter> take_waiter() { return std::move(waiter_); }
  // After run(): the connection of a CONNECT, with nothing unread; nullptr when the peer has sent more.
  std::unique_ptr<Connection> take_connection();

  int status() const override { return status_; }
  std::string const* header(std::string_view name) const override;
  std::vector<std::string> headers(std::string_view name) const override;
  std::optional<std::uint64_t> content_length() const override { return parser_->content_length(); }
  Result<std::string_view> next() override;

 private:
  enum class Sent { kAll, kAnswered };
  Result<Sent> send(std::string_view first, std::string_view second);
  Result<Sent> send_body(HttpRequest const& request);
  Result<Sent> send_sized(codec::Source& source, std::uint64_t size);
  Result<Sent> send_chunked(codec::Source& source);
  Result<void> send_request(std::string const& head, HttpRequest const& request);
  Result<void> read_head(bool no_body);
  Result<std::size_t> fill(Deadline deadline);
  Result<void> wait_for(Progress::Need need, Deadline deadline);
  std::string_view unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void finish();

  ExchangeOptions const options_;
  std::shared_ptr<ConnectionPool> pool_;
  std::unique_ptr<Waiter> waiter_;
  std::unique_ptr<Connection> connection_;  // empty once given back or broken
  std::unique_ptr<ResponseParser> parser_;
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of what is unread in buffer_
  std::chrono::milliseconds stall_;
  Headers headers_;
  int status_ = 0;
  bool received_ = false;          // a byte of the response has come
  bool body_taken_ = false;        // bytes of the body source are gone
  bool request_complete_ = false;  // else the server still waits for a body: the connection cannot be used again
  bool head_method_ = false;
};

}  // namespace davit::wire
