#include "base/result.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace davit {

struct Error::Body {
  Errc code;
  int error_number;
  std::string message;
  std::string context;  // "outer: inner: ", ready to print before message
};

void Error::Delete::operator()(Body* body) const { delete body; }

Error::Error(Errc code, std::string message, int error_number)
    : body_(new Body{code, error_number, std::move(message), {}}) {}

Error Error::from_errno(int error_number, std::string_view message) {
  std::string text(message);
  text += ": ";
  text += std::strerror(error_number);
  return Error(errc_from_errno(error_number), std::move(text), error_number);
}

Errc Error::code() const { return body_->code; }
int Error::error_number() const { return body_->error_number; }
std::string const& Error::message() const { return body_->message; }
std::string Error::to_string() const { return body_->context + body_->message; }

Error Error::with_context(std::string_view context) && {
  std::string chain(context);
  chain += ": ";
  body_->context.insert(0, chain);
  return std::move(*this);
}

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid argument";
    case Errc::kNotFound:
      return "not found";
    case Errc::kAlreadyExists:
      return "already exists";
    case Errc::kConflict:
      return "conflict";
    case Errc::kPermissionDenied:
      return "permission denied";
    case Errc::kUnimplemented:
      return "unimplemented";
    case Errc::kUnavailable:
      return "unavailable";
    case Errc::kDeadlineExceeded:
      return "deadline exceeded";
    case Errc::kResourceExhausted:
      return "resource exhausted";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kInternal:
      return "internal";
  }
  return "internal";
}

Errc errc_from_errno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ESRCH:
    case ENXIO:
    case ENODEV:
      return Errc::kNotFound;
    case EEXIST:
      return Errc::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::kPermissionDenied;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
    case E2BIG:
      return Errc::kInvalidArgument;
    case EBUSY:
    case ENOTEMPTY:
      return Errc::kConflict;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOTTY:
      return Errc::kUnimplemented;
    case EAGAIN:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return Errc::kUnavailable;
    case ETIMEDOUT:
      return Errc::kDeadlineExceeded;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return Errc::kResourceExhausted;
    default:
      return Errc::kInternal;
  }
}

void check_failed(char const* condition, char const* file, int line) {
  std::fprintf(stderr, "davit: broken invariant at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace davit
