#include "registry/hosts.h"

#include <gtest/gtest.h>

#include "registry/hosts_toml.h"
#include "registry/insecure.h"
#include "sys/testing/temp_dir.h"

namespace davit::registry {
namespace {

class Hosts : public testing::Test {
 protected:
  void write(std::string const& path, std::string_view text) {
    std::string const full = dir_ / path;
    ASSERT_TRUE(sys::mkdir_all(full.substr(0, full.rfind('/')), 0755).ok());
    auto const file = sys::open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(sys::write_all(file->get(), text).ok());
  }
  HostsOptions options() {
    HostsOptions result;
    result.certs_dirs = {dir_.path()};
    return result;
  }
  std::vector<Endpoint> endpoints(std::string_view domain, HostsOptions const& given) {
    auto found = endpoints_for(domain, given);
    EXPECT_TRUE(found.ok()) << found.error().to_string();
    return found.ok() ? *std::move(found) : std::vector<Endpoint>();
  }
  std::vector<Endpoint> endpoints(std::string_view domain) { return endpoints(domain, options()); }

  sys::testing::TempDir dir_;
};

TEST_F(Hosts, PlainRegistry) {
  auto const list = endpoints("registry.example:5000");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].base, "https://registry.example:5000");
  EXPECT_TRUE(list[0].tls.verify);
  EXPECT_FALSE(list[0].is_mirror);
}

TEST_F(Hosts, MirrorsOfTheHubGoFirst) {
  HostsOptions given = options();
  given.mirrors = {"https://mirror.example/prefix/", "http://10.1.2.3:5000"};
  given.insecure_registries = {"mirror.example"};
  auto const list = endpoints("docker.io", given);
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].base, "https://mirror.example/prefix");
  EXPECT_TRUE(list[0].is_mirror && !list[0].push && !list[0].tls.verify);
  EXPECT_EQ(list[1].base, "http://10.1.2.3:5000");
  EXPECT_EQ(list[2].base, "https://registry-1.docker.io");
  EXPECT_TRUE(!list[2].is_mirror && list[2].push && list[2].tls.verify);
  EXPECT_EQ(endpoints("ghcr.io", given).size(), 1U);
}

TEST_F(Hosts, WrongOptionsAreNamed) {
  HostsOptions given = options();
  given.mirrors = {"mirror.example"};
  EXPECT_EQ(endpoints_for("docker.io", given).error().code(), Errc::kInvalidArgument);
  given.mirrors = {"https://mirror.example/?x"};
  EXPECT_EQ(endpoints_for("docker.io", given).error().code(), Errc::kInvalidArgument);
  given = options();
  given.insecure_registries = {"10.0.0.0/33"};
  EXPECT_EQ(endpoints_for("a.example", given).error().code(), Errc::kInvalidArgument);
  for (std::string_view const domain : {"", "../etc", "a/b", ".."}) {
    EXPECT_EQ(endpoints_for(domain, options()).error().code(), Errc::kInvalidArgument) << domain;
  }
}

struct InsecureCase {
  std::string_view name, domain;
  bool insecure;
};
class Insecure : public testing::TestWithParam<InsecureCase> {};
TEST_P(Insecure, MeansHttpsWithoutTrustThenHttp) {
  HostsOptions given;
  given.certs_dirs = {};
  given.insecure_registries = {"lab.example", "lab.example:5000", "10.0.0.0/8", "fd00::/8", "http://Old.example"};
  auto const list = endpoints_for(GetParam().domain, given).value();
  ASSERT_EQ(list.size(), GetParam().insecure ? 2U : 1U);
  EXPECT_EQ(list[0].tls.verify, !GetParam().insecure);
  EXPECT_EQ(list[0].base, "https://" + std::string(GetParam().domain));
  EXPECT_FALSE(list[0].plain_fallback);
  if (!GetParam().insecure) return;
  EXPECT_EQ(list[1].base, "http://" + std::string(GetParam().domain));
  EXPECT_TRUE(list[1].plain_fallback);
}
INSTANTIATE_TEST_SUITE_P(
    Table, Insecure,
    testing::Values(InsecureCase{"name", "lab.example", true}, InsecureCase{"name_port", "lab.example:5000", true},
                    InsecureCase{"other_port", "lab.example:5001", false},
                    InsecureCase{"range", "10.200.1.1:5000", true},
                    InsecureCase{"range_without_port", "10.200.1.1", true}, InsecureCase{"outside", "11.0.0.1", false},
                    InsecureCase{"range6", "[fd00::5]:5000", true}, InsecureCase{"outside6", "[fe00::5]:5000", false},
                    InsecureCase{"localhost", "localhost:5000", true}, InsecureCase{"loopback", "127.9.9.9:1", true},
                    InsecureCase{"loopback6", "[::1]:5000", true}, InsecureCase{"scheme", "old.example", true},
                    InsecureCase{"not_localhost", "localhost.example", false}),
    [](auto const& info) { return std::string(info.param.name); });

TEST_F(Hosts, DockersCertificates) {
  write("reg.example:5000/ca.crt", "");
  write("reg.example:5000/client.cert", "");
  write("reg.example:5000/client.key", "");
  auto const list = endpoints("reg.example:5000");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].tls.ca_files, std::vector<std::string>{dir_ / "reg.example:5000/ca.crt"});
  ASSERT_EQ(list[0].tls.client_certificates.size(), 1U);
  EXPECT_EQ(list[0].tls.client_certificates[0].second, dir_ / "reg.example:5000/client.key");
  EXPECT_TRUE(endpoints("reg.example").at(0).tls.ca_files.empty());
}

TEST_F(Hosts, CertificateWithoutKey) {
  write("a.example/x.cert", "");
  EXPECT_EQ(endpoints_for("a.example", options()).error().code(), Errc::kInvalidArgument);
  write("b.example/x.key", "");
  EXPECT_EQ(endpoints_for("b.example", options()).error().code(), Errc::kInvalidArgument);
}

TEST_F(Hosts, LoopbackWithItsOwnCaIsChecked) {
  write("localhost:5000/ca.crt", "");
  auto const list = endpoints("localhost:5000");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_TRUE(list[0].tls.verify);
}

TEST_F(Hosts, FoldersAreLookedForInOrder) {
  write("_default/a.crt", "");
  EXPECT_EQ(endpoints("reg.example:443").at(0).tls.ca_files.at(0), dir_ / "_default/a.crt");
  write("reg.example/b.crt", "");
  EXPECT_EQ(endpoints("reg.example:443").at(0).tls.ca_files.at(0), dir_ / "reg.example/b.crt");
  EXPECT_EQ(endpoints("reg.example:5000").at(0).tls.ca_files.at(0), dir_ / "_default/a.crt");
  write("reg.example_443_/c.crt", "");
  EXPECT_EQ(endpoints("reg.example:443").at(0).tls.ca_files.at(0), dir_ / "reg.example_443_/c.crt");
  write("reg.example:443/d.crt", "");
  EXPECT_EQ(endpoints("reg.example:443").at(0).tls.ca_files.at(0), dir_ / "reg.example:443/d.crt");
}

TEST_F(Hosts, HostsTomlInTheOrderOfTheFile) {
  write("docker.io/hosts.toml", R"(
server = "https://registry-1.docker.io"
skip_verify = false

[host."https://z-mirror.example"]
  capabilities = ["pull", "resolve"]
  ca = "z.crt"
  client = [["/abs/c.cert", "c.key"], ["both.pem", ""]]
  dial_timeout = "1m500ms"
  [host."https://z-mirror.example".header]
    x-one = "1"
    x-two = ["2", "3"]

[host."http://a-mirror.example:5000/v2/cache"]
  capabilities = ["pull"]
  override_path = true

[host."plain.example/v2"]
  skip_verify = true
)");
  auto const list = endpoints("docker.io");
  ASSERT_EQ(list.size(), 4U);
  EXPECT_EQ(list[0].base, "https://z-mirror.example");
  EXPECT_TRUE(list[0].pull && list[0].resolve && !list[0].push && list[0].is_mirror);
  EXPECT_EQ(list[0].tls.ca_files, std::vector<std::string>{dir_ / "docker.io/z.crt"});
  EXPECT_EQ(list[0].tls.client_certificates[0].first, "/abs/c.cert");
  EXPECT_EQ(list[0].tls.client_certificates[0].second, dir_ / "docker.io/c.key");
  EXPECT_EQ(list[0].tls.client_certificates[1].second, dir_ / "docker.io/both.pem");
  EXPECT_EQ(list[0].connect_timeout, std::chrono::milliseconds(60500));
  EXPECT_EQ(list[0].headers.size(), 3U);
  EXPECT_EQ(list[1].base, "http://a-mirror.example:5000/v2/cache");
  EXPECT_TRUE(list[1].override_path && !list[1].resolve);
  EXPECT_EQ(list[2].base, "https://plain.example");
  EXPECT_FALSE(list[2].tls.verify);
  EXPECT_EQ(list[3].base, "https://registry-1.docker.io");
  EXPECT_FALSE(list[3].is_mirror);
}

TEST_F(Hosts, WithoutServerTheRegistryItselfIsLast) {
  write("reg.example/hosts.toml", "[host.\"https://m.example\"]\n");
  write("reg.example/ignored.crt", "");
  auto const list = endpoints("reg.example");
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1].base, "https://reg.example");
  EXPECT_TRUE(list[1].tls.ca_files.empty());
}

TEST_F(Hosts, AnotherServerIsAMirrorForCredentials) {
  write("reg.example/hosts.toml", "server = \"https://proxy.example\"\n");
  auto const list = endpoints("reg.example");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_TRUE(list[0].is_mirror);
}

TEST_F(Hosts, LettersInStringsAndComments) {
  auto const parsed =
      parse_hosts_toml("\xef\xbb\xbf# f\xc3\xbcr\nca = [\"/\xc3\xa4.crt\", '/\xc3\xb6.crt']\n", "/x", "f");
  ASSERT_TRUE(parsed.ok()) << parsed.error().to_string();
  EXPECT_EQ(parsed->server.tls.ca_files, (std::vector<std::string>{"/\xc3\xa4.crt", "/\xc3\xb6.crt"}));
}

struct TomlCase {
  std::string_view name, text;
};
class WrongToml : public testing::TestWithParam<TomlCase> {};
TEST_P(WrongToml, IsRefusedWithItsPlace) {
  auto const parsed = parse_hosts_toml(GetParam().text, "/x", "/x/hosts.toml");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code(), Errc::kInvalidArgument);
  EXPECT_TRUE(parsed.error().message().starts_with("/x/hosts.toml:1:")) << parsed.error().message();
}
INSTANTIATE_TEST_SUITE_P(
    Table, WrongToml,
    testing::Values(TomlCase{"syntax", "server = "}, TomlCase{"server_type", "server = 1"},
                    TomlCase{"server_url", "server = \"ftp://x\""}, TomlCase{"query", "server = \"https://x/?y\""},
                    TomlCase{"user", "server = \"https://u:p@x\""}, TomlCase{"unknown", "skip_verfy = true"},
                    TomlCase{"capability", "capabilities = [\"pul\"]"},
                    TomlCase{"capabilities_type", "capabilities = \"pull\""}, TomlCase{"flag", "skip_verify = \"yes\""},
                    TomlCase{"client", "client = [[\"a\",\"b\",\"c\"]]"}, TomlCase{"header", "header = 1"},
                    TomlCase{"header_line", "header = {a = \"b\\r\\nc\"}"}, TomlCase{"host", "host = 3"},
                    TomlCase{"timeout", "dial_timeout = \"3 apples\""}, TomlCase{"timeout0", "dial_timeout = \"0s\""},
                    TomlCase{"timeout_huge", "dial_timeout = \"99999999999999999999h\""}),
    [](auto const& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace davit::registry
