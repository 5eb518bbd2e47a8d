#include "registry/credentials.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "codec/base64.h"
#include "registry/credentials_file.h"
#include "sys/testing/temp_dir.h"

namespace davit::registry {
namespace {

std::string encoded(std::string_view text) { return codec::base64url_encode(text); }

void write(std::string const& path, std::string_view text, mode_t mode = 0600) {
  auto const file = sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(sys::write_all(file->get(), text).ok());
}

TEST(AuthHeader, UserAndPassword) {
  auto const found = parse_auth_header(encoded(R"({"username":"u","password":"p:q","serveraddress":"x"})"));
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->username, "u");
  EXPECT_EQ((*found)->password, "p:q");
}

TEST(AuthHeader, AuthHoldsBoth) {
  auto const found = parse_auth_header(encoded(R"({"auth":")" + codec::base64_encode("u:p:q") + "\"}"));
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->username, "u");
  EXPECT_EQ((*found)->password, "p:q");
}

TEST(AuthHeader, Tokens) {
  auto const found = parse_auth_header(encoded(R"({"identitytoken":"i","registrytoken":"r"})"));
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->identity_token, "i");
  EXPECT_EQ((*found)->registry_token, "r");
}

TEST(AuthHeader, NothingInItIsAnonymous) {
  for (std::string const& text : {std::string(), encoded("{}"), encoded(R"({"username":"","password":""})")}) {
    auto const found = parse_auth_header(text);
    ASSERT_TRUE(found.ok());
    EXPECT_FALSE(found->has_value());
  }
}

TEST(AuthHeader, RefusesWhatIsNone) {
  for (std::string const& text : {std::string("***"), encoded("[]"), encoded("{"), encoded(R"({"auth":"bm8="})")}) {
    auto const found = parse_auth_header(text);
    ASSERT_FALSE(found.ok()) << text;
    EXPECT_EQ(found.error().code(), Errc::kInvalidArgument);
  }
}

TEST(FixedCredential, IsForItsDomainOnly) {
  FixedCredential source("docker.io", Credential{"u", "p", "", ""});
  EXPECT_TRUE(source.find("docker.io")->has_value());
  EXPECT_TRUE(source.find("https://index.docker.io/v1/")->has_value());
  EXPECT_FALSE(source.find("docker.io.evil.example")->has_value());
  EXPECT_FALSE(source.find("docker.io:443")->has_value());
}

struct KeyCase {
  std::string_view name, key, domain;
};
class ConfigKeys : public testing::TestWithParam<KeyCase> {};
TEST_P(ConfigKeys, MeanADomain) { EXPECT_EQ(canonical_domain(GetParam().key), GetParam().domain); }
INSTANTIATE_TEST_SUITE_P(Table, ConfigKeys,
                         testing::Values(KeyCase{"hub", "https://index.docker.io/v1/", "docker.io"},
                                         KeyCase{"hub_bare", "index.docker.io", "docker.io"},
                                         KeyCase{"port", "https://Reg.Example:5000/v2/", "reg.example:5000"},
                                         KeyCase{"plain", "ghcr.io", "ghcr.io"}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(ConfigFile, FindsAuths) {
  sys::testing::TempDir dir;
  write(dir / "config.json", R"({"auths":{"https://index.docker.io/v1/":{"auth":")" + codec::base64_encode("u:p") +
                                 R"("},"reg.example:5000":{"identitytoken":"t"},"empty.example":{}}})");
  ConfigFileCredentials source(dir.path());
  auto const hub = source.find("docker.io");
  ASSERT_TRUE(hub.ok() && hub->has_value());
  EXPECT_EQ((*hub)->password, "p");
  EXPECT_EQ(source.find("reg.example:5000").value()->identity_token, "t");
  EXPECT_FALSE(source.find("reg.example").value().has_value());
  EXPECT_FALSE(source.find("empty.example").value().has_value());
}

TEST(ConfigFile, MissingMeansNone) {
  sys::testing::TempDir dir;
  auto const found = ConfigFileCredentials(dir.path()).find("docker.io");
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->has_value());
}

TEST(ConfigFile, WrongOnesNameTheField) {
  sys::testing::TempDir dir;
  write(dir / "config.json", R"({"auths":{"a.example":{"auth":"!"}}})");
  auto const found = ConfigFileCredentials(dir.path()).find("a.example");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), Errc::kInvalidArgument);
}

// A helper in a folder of its own that PATH names first.
class Helper : public testing::Test {
 protected:
  void SetUp() override {
    old_path_ = ::getenv("PATH");
    ::setenv("PATH", (dir_.path() + ":" + old_path_).c_str(), 1);
  }
  void TearDown() override { ::setenv("PATH", old_path_.c_str(), 1); }
  void install(std::string const& name, std::string_view script) {
    write(dir_ / ("docker-credential-" + name), "#!/bin/sh\n" + std::string(script), 0755);
  }

  sys::testing::TempDir dir_;
  std::string old_path_;
};

TEST_F(Helper, IsAskedForTheServer) {
  install("one", R"(read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$1\",\"Secret\":\"$server\"}")");
  write(dir_ / "config.json", R"({"credsStore":"one","auths":{"a.example":{}}})");
  auto const found = ConfigFileCredentials(dir_.path()).find("docker.io");
  ASSERT_TRUE(found.ok() && found->has_value()) << found.error().to_string();
  EXPECT_EQ((*found)->username, "get");
  EXPECT_EQ((*found)->password, "https://index.docker.io/v1/");
}

TEST_F(Helper, GivesIdentityTokens) {
  install("one", R"(echo '{"Username":"<token>","Secret":"t"}')");
  auto const found = ask_credential_helper("one", "a.example");
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->identity_token, "t");
  EXPECT_EQ((*found)->password, "");
}

TEST_F(Helper, OfOneHostGoesBeforeTheStore) {
  install("one", R"(echo '{"Username":"one","Secret":"s"}')");
  install("two", R"(echo '{"Username":"two","Secret":"s"}')");
  write(dir_ / "config.json", R"({"credsStore":"one","credHelpers":{"b.example":"two","c.example":""}})");
  ConfigFileCredentials source(dir_.path());
  EXPECT_EQ(source.find("a.example").value()->username, "one");
  EXPECT_EQ(source.find("b.example").value()->username, "two");
  EXPECT_FALSE(source.find("c.example").value().has_value());
}

TEST_F(Helper, WithoutOneTheFileCounts) {
  install("one", "echo 'credentials not found in native keychain'; exit 1");
  write(dir_ / "config.json", R"({"credsStore":"one","auths":{"a.example":{"username":"u","password":"p"}}})");
  EXPECT_EQ(ConfigFileCredentials(dir_.path()).find("a.example").value()->username, "u");
  EXPECT_FALSE(ConfigFileCredentials(dir_.path()).find("b.example").value().has_value());
}

TEST_F(Helper, Failures) {
  install("bad", "echo locked >&2; exit 3");
  EXPECT_EQ(ask_credential_helper("bad", "a").error().code(), Errc::kUnavailable);
  EXPECT_EQ(ask_credential_helper("no-such-helper", "a").error().code(), Errc::kNotFound);
  EXPECT_EQ(ask_credential_helper("../evil", "a").error().code(), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace davit::registry
