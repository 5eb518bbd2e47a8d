// UniqueFd: the one owner of a file descriptor (STYLE R4). Everyone else borrows the number.
#pragma once

#include <unistd.h>

#include <utility>

namespace davit {

class [[nodiscard]] UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  // Gives the number away; the caller owns it now.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() {
    // An error of close(2) leaves nothing to do: the descriptor is gone on Linux either way.
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace davit
