// Result<T>: what a function that can fail returns (STYLE R1). Any thread; no allocation on success.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace davit {

// What a caller may act on. Fronts map each to an HTTP status, a gRPC status and an exit status, in one table each.
enum class Errc : std::uint8_t {
  kInvalidArgument,    // the input is wrong; repeating it will not help
  kNotFound,           // the named thing does not exist
  kAlreadyExists,      // the name is taken
  kConflict,           // the object's state does not allow it now
  kPermissionDenied,   // the kernel or a policy refused
  kUnimplemented,      // the kernel or this build lacks it
  kUnavailable,        // a peer or resource is away; retrying may help
  kDeadlineExceeded,   // time ran out
  kResourceExhausted,  // no space, no memory, a limit
  kCancelled,          // a StopToken said so
  kInternal,           // everything else
};

std::string_view errc_name(Errc code);

// The code that stands for an errno where nothing more specific is known.
Errc errc_from_errno(int error_number);

// One failure: code, errno (0 if none), message and the chain of what was being attempted. One pointer wide.
class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message, int error_number = 0);
  // "message: strerror(error_number)"
  static Error from_errno(int error_number, std::string_view message);

  Errc code() const;
  int error_number() const;
  // The innermost message without context.
  std::string const& message() const;
  // The whole chain, outermost first: "start web: limit memory: open 'memory.max': No such file or directory".
  std::string to_string() const;
  // Puts "context: " before the chain.
  Error with_context(std::string_view context) &&;

 private:
  struct Body;
  struct Delete {
    void operator()(Body* body) const;
  };
  std::unique_ptr<Body, Delete> body_;
};

[[noreturn]] void check_failed(char const* condition, char const* file, int line);

// Ends the process when an invariant of ours is broken; never used on outside input.
#define DAVIT_CHECK(condition) ((condition) ? void(0) : ::davit::check_failed(#condition, __FILE__, __LINE__))

template <typename T>
class [[nodiscard]] Result {
  static_assert(!std::is_reference_v<T>);

 public:
  using value_type = T;

  Result(T value) : ok_(true) { new (&value_) T(std::move(value)); }  // NOLINT: implicit on purpose
  Result(Error error) : ok_(false) { new (&error_) Error(std::move(error)); }
  Result(Result&& other) noexcept : ok_(other.ok_) {
    if (ok_) {
      new (&value_) T(std::move(other.value_));
    } else {
      new (&error_) Error(std::move(other.error_));
    }
  }
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      this->~Result();
      new (this) Result(std::move(other));
    }
    return *this;
  }
  ~Result() {
    if (ok_) {
      value_.~T();
    } else {
      error_.~Error();
    }
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }

  T& value() & { return check(), value_; }
  T const& value() const& { return check(), value_; }
  T&& value() && { return check(), std::move(value_); }
  T& operator*() & { return value(); }
  T const& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  T const* operator->() const { return &value(); }
  T value_or(T fallback) && { return ok_ ? std::move(value_) : std::move(fallback); }

  Error const& error() const& { return DAVIT_CHECK(!ok_), error_; }
  Error&& take_error() && { return DAVIT_CHECK(!ok_), std::move(error_); }

 private:
  void check() const { DAVIT_CHECK(ok_); }

  union {
    T value_;
    Error error_;
  };
  bool ok_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::make_unique<Error>(std::move(error))) {}

  bool ok() const { return error_ == nullptr; }
  explicit operator bool() const { return ok(); }
  void value() const { DAVIT_CHECK(ok()); }
  Error const& error() const& { return DAVIT_CHECK(!ok()), *error_; }
  Error&& take_error() && { return DAVIT_CHECK(!ok()), std::move(*error_); }

 private:
  std::unique_ptr<Error> error_;
};

// The value of a Result, or return its error. Only as the whole initialiser or the whole statement (STYLE R2).
#define TRY(expression)                           \
  ({                                              \
    auto try_result_ = (expression);              \
    if (!try_result_.ok()) [[unlikely]]           \
      return std::move(try_result_).take_error(); \
    std::move(try_result_).value();               \
  })

// The same, with a context (a string, evaluated only on failure) in front of the error.
#define TRY_CTX(expression, context)                                    \
  ({                                                                    \
    auto try_result_ = (expression);                                    \
    if (!try_result_.ok()) [[unlikely]]                                 \
      return std::move(try_result_).take_error().with_context(context); \
    std::move(try_result_).value();                                     \
  })

}  // namespace davit
