#include "runtime/names.h"

#include <gtest/gtest.h>

namespace davit::runtime {
namespace {

struct Case {
  std::string_view name, text;
  int number;  // -1: refused
};
class SignalNames : public testing::TestWithParam<Case> {};

TEST_P(SignalNames, AreReadInEveryForm) {
  auto const number = parse_signal(GetParam().text);
  EXPECT_EQ(number.ok() ? *number : -1, GetParam().number);
}

INSTANTIATE_TEST_SUITE_P(Table, SignalNames,
                         testing::Values(Case{"plain", "TERM", 15}, Case{"prefixed", "SIGTERM", 15},
                                         Case{"lower", "sigkill", 9}, Case{"number", "9", 9}, Case{"zero", "0", 0},
                                         Case{"last", "64", 64}, Case{"past", "65", -1}, Case{"negative", "-1", -1},
                                         Case{"alias", "POLL", 29}, Case{"rtmin", "RTMIN", 34},
                                         Case{"rtmin_plus", "SIGRTMIN+3", 37}, Case{"rtmax", "RTMAX", 64},
                                         Case{"rtmax_minus", "SIGRTMAX-14", 50}, Case{"rt_too_far", "RTMIN+31", -1},
                                         Case{"rt_no_sign", "RTMIN3", -1}, Case{"empty", "", -1},
                                         Case{"prefix_only", "SIG", -1}, Case{"word", "FOO", -1}),
                         [](auto const& row) { return std::string(row.param.name); });

TEST(SignalNames, EveryNumberHasANameThatReadsBack) {
  for (int number = 1; number <= 64; ++number) {
    std::string const name = signal_name(number);
    if (number == 32 || number == 33) {
      EXPECT_EQ(name, "");
      continue;
    }
    auto const back = parse_signal(name);
    ASSERT_TRUE(back.ok()) << number << " " << name;
    EXPECT_EQ(*back, number);
  }
}

TEST(SignalNames, AWrongNameGetsTheNearest) {
  EXPECT_NE(parse_signal("SIGTERN").error().message().find("\"TERM\""), std::string::npos);
}

TEST(Names, LimitsAndNamespacesAreComplete) {
  EXPECT_EQ(rlimit_names().size(), 16u);
  EXPECT_EQ(rlimit_number("RLIMIT_NOFILE"), 7);
  EXPECT_EQ(rlimit_number("NOFILE"), std::nullopt);
  EXPECT_EQ(namespace_names().size(), 8u);
  EXPECT_STREQ(namespace_kind("network")->file, "net");
  EXPECT_EQ(namespace_kind("time")->clone_flag, 0x80u);
  EXPECT_EQ(namespace_kind("net"), nullptr);
}

}  // namespace
}  // namespace davit::runtime
