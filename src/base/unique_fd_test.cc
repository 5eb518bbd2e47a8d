#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <utility>

namespace davit {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
UniqueFd open_null() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(UniqueFd, ClosesWhatItOwnsOnce) {
  int number;
  {
    UniqueFd fd = open_null();
    number = fd.get();
    EXPECT_TRUE(is_open(number));
    fd.reset();
    EXPECT_FALSE(is_open(number));
    EXPECT_FALSE(fd.valid());
  }
  EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, MovingLeavesTheSourceEmptyAndClosesTheTarget) {
  UniqueFd first = open_null();
  UniqueFd second = open_null();
  int const kept = first.get();
  int const closed = second.get();
  second = std::move(first);
  EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  EXPECT_FALSE(is_open(closed));
  EXPECT_EQ(second.get(), kept);
  UniqueFd& alias = second;
  second = std::move(alias);
  EXPECT_TRUE(is_open(kept));
}

TEST(UniqueFd, ReleaseGivesTheNumberAway) {
  UniqueFd fd = open_null();
  int const number = fd.release();
  fd.reset();
  EXPECT_TRUE(is_open(number));
  UniqueFd const again(number);
}

}  // namespace
}  // namespace davit
