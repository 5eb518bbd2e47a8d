#include "base/result.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace davit {
namespace {

struct MoveOnly {
  explicit MoveOnly(int number) : value(std::make_unique<int>(number)) {}
  std::unique_ptr<int> value;
};

Result<MoveOnly> half(int number) {
  if (number % 2 != 0) return Error(Errc::kInvalidArgument, "odd");
  return MoveOnly(number / 2);
}

Result<int> quarter(int number) {
  MoveOnly first = TRY(half(number));
  MoveOnly second = TRY_CTX(half(*first.value), "second half");
  return *second.value;
}

TEST(Result, TryGivesTheValueOrReturnsTheError) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(3).error().to_string(), "odd");
  EXPECT_EQ(quarter(6).error().to_string(), "second half: odd");
  EXPECT_EQ(quarter(6).error().code(), Errc::kInvalidArgument);
}

Result<void> check_even(int number, std::vector<std::string>& evaluated) {
  auto context = [&evaluated] {
    evaluated.push_back("context");
    return std::string("outer");
  };
  TRY_CTX(half(number), context());
  return {};
}

TEST(Result, ContextIsEvaluatedOnlyOnFailure) {
  std::vector<std::string> evaluated;
  EXPECT_TRUE(check_even(2, evaluated).ok());
  EXPECT_TRUE(evaluated.empty());
  EXPECT_FALSE(check_even(1, evaluated).ok());
  EXPECT_EQ(evaluated.size(), 1U);
}

TEST(Result, MovesAndAssignsBetweenValueAndError) {
  Result<std::string> text = std::string(100, 'x');
  Result<std::string> other = Error(Errc::kNotFound, "gone");
  std::swap(text, other);
  EXPECT_EQ(text.error().code(), Errc::kNotFound);
  EXPECT_EQ(other.value().size(), 100U);
  text = std::move(other);
  EXPECT_EQ(std::move(text).value(), std::string(100, 'x'));
}

TEST(Result, ValueOrFallsBack) {
  EXPECT_EQ(Result<int>(1).value_or(2), 1);
  EXPECT_EQ(Result<int>(Error(Errc::kInternal, "x")).value_or(2), 2);
}

TEST(Result, IsSmall) {
  EXPECT_EQ(sizeof(Error), sizeof(void*));
  EXPECT_EQ(sizeof(Result<void>), sizeof(void*));
  EXPECT_LE(sizeof(Result<UniqueFd>), 2 * sizeof(void*));
}

TEST(ResultDeathTest, ReadingTheWrongSideEndsTheProcess) {
  EXPECT_DEATH((void)Result<int>(Error(Errc::kInternal, "x")).value(), "broken invariant");
  EXPECT_DEATH((void)Result<int>(1).error(), "broken invariant");
  EXPECT_DEATH(Result<void>(Error(Errc::kInternal, "x")).value(), "broken invariant");
}

TEST(Error, KeepsTheInnermostMessageAndTheChain) {
  Error error = Error::from_errno(ENOENT, "open 'memory.max'").with_context("limit memory").with_context("start web");
  EXPECT_EQ(error.code(), Errc::kNotFound);
  EXPECT_EQ(error.error_number(), ENOENT);
  EXPECT_TRUE(error.message().starts_with("open 'memory.max': "));
  EXPECT_EQ(error.to_string(), "start web: limit memory: " + error.message());
}

struct ErrnoCase {
  int error_number;
  Errc code;
};
class ErrcFromErrno : public testing::TestWithParam<ErrnoCase> {};
TEST_P(ErrcFromErrno, SaysWhatACallerMayActOn) { EXPECT_EQ(errc_from_errno(GetParam().error_number), GetParam().code); }
INSTANTIATE_TEST_SUITE_P(Table, ErrcFromErrno,
                         testing::Values(ErrnoCase{ENOENT, Errc::kNotFound}, ErrnoCase{ESRCH, Errc::kNotFound},
                                         ErrnoCase{EEXIST, Errc::kAlreadyExists},
                                         ErrnoCase{EPERM, Errc::kPermissionDenied},
                                         ErrnoCase{EINVAL, Errc::kInvalidArgument}, ErrnoCase{EBUSY, Errc::kConflict},
                                         ErrnoCase{ENOSYS, Errc::kUnimplemented}, ErrnoCase{EAGAIN, Errc::kUnavailable},
                                         ErrnoCase{ETIMEDOUT, Errc::kDeadlineExceeded},
                                         ErrnoCase{ENOMEM, Errc::kResourceExhausted}, ErrnoCase{EIO, Errc::kInternal}),
                         [](auto const& info) { return "errno_" + std::to_string(info.param.error_number); });

TEST(Errc, EachHasItsOwnName) {
  std::vector<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Errc::kInternal); ++code) {
    names.push_back(errc_name(static_cast<Errc>(code)));
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace davit
