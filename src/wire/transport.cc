#include "wire/transport.h"

#include "sys/tcp_socket.h"
#include "sys/unix_socket.h"

namespace davit::wire {

namespace {

class TcpTransport : public Transport {
 public:
  explicit TcpTransport(UniqueFd socket) : socket_(std::move(socket)) {}

  int fd() const override { return socket_.get(); }

  Result<Progress> read(std::span<char> out) override {
    sys::ReadOutcome const outcome = TRY(sys::receive_now(socket_.get(), out));
    return Progress{outcome.size, outcome.would_block ? Progress::Need::kReadable : Progress::Need::kNothing};
  }

  Result<Progress> write(std::string_view first, std::string_view second) override {
    std::size_t const size = TRY(sys::send_now(socket_.get(), first, second));
    return Progress{size, size == 0 ? Progress::Need::kWritable : Progress::Need::kNothing};
  }

  Result<bool> has_input() override {
    char byte;
    sys::ReadOutcome const outcome = TRY(sys::peek_now(socket_.get(), std::span<char>(&byte, 1)));
    return !outcome.would_block;
  }

 private:
  UniqueFd socket_;
};

}  // namespace

std::unique_ptr<Transport> tcp_transport(UniqueFd socket) { return std::make_unique<TcpTransport>(std::move(socket)); }

}  // namespace davit::wire
