#include "oci/platform.h"

#include <gtest/gtest.h>

namespace davit::oci {
namespace {

Platform const kHost{.os = "linux", .architecture = "amd64"};

struct ParseCase {
  std::string_view name, text, printed;  // printed: "" for an error
};

class PlatformParse : public testing::TestWithParam<ParseCase> {};

TEST_P(PlatformParse, NormalisesAsDockerDoes) {
  auto const platform = parse_platform(GetParam().text, kHost);
  ASSERT_EQ(platform.ok(), !GetParam().printed.empty()) << (platform.ok() ? to_string(*platform) : "");
  if (!platform.ok()) {
    EXPECT_EQ(platform.error().code(), Errc::kInvalidArgument);
    return;
  }
  EXPECT_EQ(to_string(*platform), GetParam().printed);
  auto const again = parse_platform(to_string(*platform), kHost);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *platform);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PlatformParse,
    testing::Values(
        ParseCase{"both", "linux/amd64", "linux/amd64"}, ParseCase{"os_alone", "linux", "linux/amd64"},
        ParseCase{"other_os_alone", "windows", "windows/amd64"}, ParseCase{"macos", "macos", "darwin/amd64"},
        ParseCase{"architecture_alone", "arm64", "linux/arm64"}, ParseCase{"upper", "LINUX/AMD64", "linux/amd64"},
        ParseCase{"x86_64", "x86_64", "linux/amd64"}, ParseCase{"x86_dash_64", "linux/x86-64", "linux/amd64"},
        ParseCase{"amd64_v1", "linux/amd64/v1", "linux/amd64"},
        ParseCase{"amd64_v3", "linux/amd64/v3", "linux/amd64/v3"}, ParseCase{"aarch64", "linux/aarch64", "linux/arm64"},
        ParseCase{"arm64_v8", "linux/arm64/v8", "linux/arm64"}, ParseCase{"arm64_8", "linux/arm64/8", "linux/arm64"},
        ParseCase{"arm64_v9", "linux/arm64/v9", "linux/arm64/v9"}, ParseCase{"arm", "linux/arm", "linux/arm/v7"},
        ParseCase{"arm_7", "linux/arm/7", "linux/arm/v7"}, ParseCase{"arm_6", "linux/arm/6", "linux/arm/v6"},
        ParseCase{"armhf", "armhf", "linux/arm/v7"}, ParseCase{"armel", "armel", "linux/arm/v6"},
        ParseCase{"i386", "linux/i386", "linux/386"},
        ParseCase{"unknown_architecture_with_os", "linux/foo", "linux/foo"},
        ParseCase{"riscv_variant", "linux/riscv64/rva22", "linux/riscv64/rva22"},
        ParseCase{"version", "windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"},
        ParseCase{"features", "windows(10.0+win32k)/amd64", "windows(10.0+win32k)/amd64"},
        ParseCase{"unknown_word", "foo", ""}, ParseCase{"empty", "", ""}, ParseCase{"no_architecture", "linux/", ""},
        ParseCase{"no_os", "/amd64", ""}, ParseCase{"no_variant", "linux/amd64/", ""},
        ParseCase{"four_parts", "linux/arm64/v9/x", ""}, ParseCase{"space", "li nux/amd64", ""},
        ParseCase{"open_bracket", "windows(10/amd64", ""}, ParseCase{"all", "all", ""}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(PlatformHost, IsALinuxOfAKnownArchitecture) {
  Platform const host = host_platform();
  EXPECT_EQ(host.os, "linux");
  EXPECT_TRUE(parse_platform(host.architecture, host).ok()) << host.architecture;
  EXPECT_GT(match_score(host, host), 0);
}

Platform platform(std::string_view text) {
  std::size_t const dash = text.find('-');  // "arm-v7"; "" stands for the plain architecture
  return {.os = "linux",
          .architecture = std::string(text.substr(0, dash)),
          .variant = dash == std::string_view::npos ? "" : std::string(text.substr(dash + 1))};
}

// better: offers in falling order of preference; never: offers that do not run.
struct MatchCase {
  std::string_view name, wanted;
  std::vector<std::string_view> better, never;
};

class PlatformMatch : public testing::TestWithParam<MatchCase> {};

TEST_P(PlatformMatch, PrefersTheNearestThatRuns) {
  int last = 1 << 30;
  for (std::string_view const offer : GetParam().better) {
    int const score = match_score(platform(GetParam().wanted), platform(offer));
    EXPECT_GT(score, 0) << offer;
    EXPECT_LT(score, last) << offer;
    last = score;
  }
  for (std::string_view const offer : GetParam().never) {
    EXPECT_EQ(match_score(platform(GetParam().wanted), platform(offer)), 0) << offer;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, PlatformMatch,
    testing::Values(
        MatchCase{"amd64", "amd64", {"amd64"}, {"amd64-v2", "386", "arm64", "arm", "unknown"}},
        MatchCase{"amd64_v3", "amd64-v3", {"amd64-v3", "amd64-v2", "amd64"}, {"amd64-v4", "386"}},
        MatchCase{"arm64", "arm64", {"arm64", "arm-v8", "arm-v7", "arm-v6", "arm-v5"}, {"arm64-v9", "amd64"}},
        MatchCase{"arm64_spelt_out", "aarch64-v8", {"arm64-v8"}, {}},
        MatchCase{
            "arm64_v9", "arm64-v9.2", {"arm64-v9.2", "arm64-v9", "arm64-v8.2", "arm64", "arm-v7"}, {"arm64-v9.3"}},
        MatchCase{"arm", "arm", {"arm-v7", "arm-v6", "arm-v5"}, {"arm-v8", "arm64"}},
        MatchCase{"arm_v6", "arm-v6", {"arm-v6", "arm-v5"}, {"arm-v7", "arm"}},
        MatchCase{"i386", "386", {"386"}, {"amd64"}},
        MatchCase{"unordered", "riscv64-rva22", {"riscv64-rva22", "riscv64"}, {"riscv64-rva23"}},
        MatchCase{"absurd_variant",
                  "amd64-v99999999999999999999",
                  {"amd64-v99999999999999999999"},
                  {"amd64-v1.999", "amd64-vx"}}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(PlatformMatch, NeedsTheSameOperatingSystem) {
  EXPECT_EQ(match_score({.os = "linux", .architecture = "amd64"}, {.os = "windows", .architecture = "amd64"}), 0);
  EXPECT_EQ(match_score({.os = "linux", .architecture = "amd64"}, {.os = "unknown", .architecture = "unknown"}), 0);
  EXPECT_EQ(match_score({.os = "linux", .architecture = "amd64"}, {}), 0);
}

}  // namespace
}  // namespace davit::oci
