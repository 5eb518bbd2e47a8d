#include "wire/tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstring>
#include <optional>
#include <utility>

#include "wire/tls_failure.h"

namespace davit::wire {

namespace {

// SSL_set_app_data's index.
constexpr int kSelf = 0;

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
struct FreeMethod {
  void operator()(BIO_METHOD* method) const { BIO_meth_free(method); }
};

Error copy(Error const& error) { return Error(error.code(), error.to_string(), error.error_number()); }

bool is_address(std::string const& host) {
  in6_addr bytes{};
  return ::inet_pton(AF_INET, host.c_str(), &bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), &bytes) == 1;
}

class TlsTransport : public Transport {
 public:
  TlsTransport(std::unique_ptr<Transport> lower, TlsPeer peer) : lower_(std::move(lower)), peer_(std::move(peer)) {}
  ~TlsTransport() override;

  Result<void> shake_hands(TlsContext const& context, Waiter& waiter, Deadline deadline);

  int fd() const override { return lower_->fd(); }
  Result<Progress> read(std::span<char> out) override;
  Result<Progress> write(std::string_view first, std::string_view second) override;
  Result<bool> has_input() override;

 private:
  static int bio_read(BIO* bio, char* out, std::size_t size, std::size_t* done);
  static int bio_write(BIO* bio, char const* data, std::size_t size, std::size_t* done);
  static long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  void attach_bio();
  static int on_verify(int ok, X509_STORE_CTX* store);

  // What became of a call of OpenSSL that returned no success; an ordered end counts as progress of nothing.
  Result<Progress> outcome(int result);
  // The same for reading, where an alert that says why comes only once.
  Result<Progress> read_outcome(int result);

  std::unique_ptr<Transport> lower_;
  TlsPeer const peer_;
  // OpenSSL's own socket BIO raises SIGPIPE and knows sockets only.
  std::unique_ptr<BIO_METHOD, FreeMethod> method_;
  std::unique_ptr<SSL, FreeSsl> ssl_;  // owns the BIO, which uses the method
  Progress::Need lower_need_ = Progress::Need::kReadable;
  std::optional<Error> lower_error_;   // of the last call
  std::optional<Error> read_failure_;  // the first: it is final
  Rejected rejected_;
  std::string first_bytes_;  // of the handshake, to recognise a server that speaks something else
  bool connected_ = false;
  bool broken_ = false;
};

TlsTransport::~TlsTransport() {
  if (ssl_ == nullptr || !connected_ || broken_) return;
  ERR_clear_error();
  (void)SSL_shutdown(ssl_.get());  // our close_notify only; nobody waits for the peer's
}

int TlsTransport::bio_read(BIO* bio, char* out, std::size_t size, std::size_t* done) {
  auto& self = *static_cast<TlsTransport*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  Result<Progress> const progress = self.lower_->read({out, size});
  if (!progress) {
    self.lower_error_ = copy(progress.error());
    return 0;
  }
  *done = progress->size;
  if (progress->need != Progress::Need::kNothing) {
    self.lower_need_ = progress->need;
    BIO_set_retry_read(bio);
    return 0;
  }
  constexpr std::size_t kEnough = 5;
  if (!self.connected_ && self.first_bytes_.size() < kEnough) self.first_bytes_.append(out, std::min(*done, kEnough));
  return *done > 0 ? 1 : 0;
}

int TlsTransport::bio_write(BIO* bio, char const* data, std::size_t size, std::size_t* done) {
  auto& self = *static_cast<TlsTransport*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  Result<Progress> const progress = self.lower_->write({data, size}, {});
  if (!progress) {
    self.lower_error_ = copy(progress.error());
    return 0;
  }
  *done = progress->size;
  if (progress->need == Progress::Need::kNothing) return 1;
  self.lower_need_ = progress->need;
  BIO_set_retry_write(bio);
  return *done > 0 ? 1 : 0;
}

// A handshake that fails does not keep the peer's certificates, and the error is to say whom they are for.
int TlsTransport::on_verify(int ok, X509_STORE_CTX* store) {
  auto const* const ssl =
      static_cast<SSL const*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& self = *static_cast<TlsTransport*>(SSL_get_ex_data(ssl, kSelf));
  if (ok == 1 || self.rejected_.verdict != X509_V_OK) return ok;
  X509* const certificate = X509_STORE_CTX_get_current_cert(store);
  self.rejected_.verdict = X509_STORE_CTX_get_error(store);
  if (certificate == nullptr) return ok;
  self.rejected_.names = certificate_names(certificate);
  self.rejected_.until = certificate_end(certificate);
  self.rejected_.is_own = X509_STORE_CTX_get_error_depth(store) == 0;
  return ok;
}

void TlsTransport::attach_bio() {
  method_.reset(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "davit transport"));
  DAVIT_CHECK(method_ != nullptr);
  BIO_meth_set_read_ex(method_.get(), &TlsTransport::bio_read);
  BIO_meth_set_write_ex(method_.get(), &TlsTransport::bio_write);
  BIO_meth_set_ctrl(method_.get(), &TlsTransport::bio_control);
  BIO* const bio = BIO_new(method_.get());
  DAVIT_CHECK(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

Result<void> TlsTransport::shake_hands(TlsContext const& context, Waiter& waiter, Deadline deadline) {
  ERR_clear_error();
  ssl_.reset(SSL_new(context.get()));
  DAVIT_CHECK(ssl_ != nullptr);
  attach_bio();
  DAVIT_CHECK(SSL_set_ex_data(ssl_.get(), kSelf, this) == 1);
  SSL_set_verify(ssl_.get(), SSL_get_verify_mode(ssl_.get()), &TlsTransport::on_verify);
  if (is_address(peer_.host)) {
    DAVIT_CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), peer_.host.c_str()) == 1);
  } else {
    // SSL_set_tlsext_host_name without its cast.
    std::string name = peer_.host;
    if (SSL_set1_host(ssl_.get(), peer_.host.c_str()) != 1 ||
        SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) != 1) {
      return Error(Errc::kInvalidArgument, "'" + peer_.host + "' cannot be the name of a TLS server");
    }
  }
  for (;;) {
    ERR_clear_error();
    int const result = SSL_connect(ssl_.get());
    if (result == 1) break;
    int const why = SSL_get_error(ssl_.get(), result);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
      if (lower_error_) return copy(*lower_error_).with_context("TLS handshake with " + peer_.authority);
      return handshake_failure(peer_, rejected_, first_bytes_);
    }
    short const events = lower_need_ == Progress::Need::kWritable ? POLLOUT : POLLIN;
    bool const ready = TRY(waiter.wait(fd(), events, deadline));
    if (!ready) {
      return Error(Errc::kDeadlineExceeded, "TLS handshake with " + peer_.authority + ": no answer in time");
    }
  }
  connected_ = true;
  return {};
}

Result<Progress> TlsTransport::outcome(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Progress{0, lower_need_};
    case SSL_ERROR_ZERO_RETURN:
      return Progress{};
    default:
      broken_ = true;
      if (lower_error_) return copy(*lower_error_);
      return stream_failure(peer_);
  }
}

Result<Progress> TlsTransport::read_outcome(int result) {
  if (read_failure_) return copy(*read_failure_);
  Result<Progress> progress = outcome(result);
  if (!progress) read_failure_ = copy(progress.error());
  return progress;
}

Result<Progress> TlsTransport::read(std::span<char> out) {
  std::size_t size = 0;
  while (size < out.size()) {
    ERR_clear_error();
    lower_error_.reset();
    std::size_t got = 0;
    int const result = SSL_read_ex(ssl_.get(), out.data() + size, out.size() - size, &got);
    if (result != 1) {
      // What there is goes first; the end, or the error, comes again.
      if (size > 0) break;
      return read_outcome(result);
    }
    size += got;
    // Whole records that were read ahead; a part of one is found to be one by the next SSL_read.
    if (SSL_has_pending(ssl_.get()) == 0) break;
  }
  return Progress{size, Progress::Need::kNothing};
}

Result<Progress> TlsTransport::write(std::string_view first, std::string_view second) {
  std::size_t size = 0;
  for (std::string_view rest : {first, second}) {
    while (!rest.empty()) {
      ERR_clear_error();
      lower_error_.reset();
      std::size_t taken = 0;
      int const result = SSL_write_ex(ssl_.get(), rest.data(), rest.size(), &taken);
      if (result != 1) {
        Progress const stopped = TRY(outcome(result));
        if (stopped.need == Progress::Need::kNothing) {
          return Error(Errc::kUnavailable, "the server has ended the TLS stream");
        }
        return Progress{size, stopped.need};
      }
      size += taken;
      rest.remove_prefix(taken);
    }
  }
  return Progress{size, Progress::Need::kNothing};
}

Result<bool> TlsTransport::has_input() {
  ERR_clear_error();
  lower_error_.reset();
  char byte;
  std::size_t size = 0;
  int const result = SSL_peek_ex(ssl_.get(), &byte, 1, &size);
  if (result == 1) return true;
  Progress const progress = TRY(read_outcome(result));
  return progress.need == Progress::Need::kNothing;
}

}  // namespace

Result<std::unique_ptr<Transport>> tls_transport(std::unique_ptr<Transport> lower, TlsPeer const& peer,
                                                 TlsOptions const& options, Waiter& waiter, Deadline deadline) {
  TlsContext const context = TRY(tls_context(options));
  auto transport = std::make_unique<TlsTransport>(std::move(lower), peer);
  TRY(transport->shake_hands(context, waiter, deadline));
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace davit::wire
