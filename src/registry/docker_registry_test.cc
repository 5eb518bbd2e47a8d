// The client against Debian's docker-registry: plain, with TLS and with passwords. Skipped where that is not installed.
#include <signal.h>
#include <spawn.h>

#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "registry/testing/client_fixture.h"
#include "sys/process.h"
#include "sys/tcp_socket.h"
#include "wire/testing/tls_server.h"

extern char** environ;

namespace davit::registry {
namespace {

using namespace std::chrono_literals;

constexpr char kProgram[] = "docker-registry";

// ./check puts it into PATH without installing its package.
bool is_in_path(std::string_view program) {
  char const* const path = std::getenv("PATH");
  for (std::string_view const folder : split(path == nullptr ? "" : path, ':')) {
    if (!folder.empty() && sys::exists(std::string(folder) + "/" + std::string(program))) return true;
  }
  return false;
}

class DockerRegistry : public testing::ClientTest {
 protected:
  void SetUp() override {
    if (!is_in_path(kProgram)) GTEST_SKIP() << "there is no " << kProgram;
  }
  void TearDown() override { stop(); }

  // settings: lines of YAML below "http:" and after it.
  void start(std::string const& http_settings = "", std::string const& settings = "") {
    {
      UniqueFd const probe = sys::listen_tcp("127.0.0.1", port_).value();
      if (port_ == 0) port_ = sys::local_port(probe.get()).value();
    }
    origin_ = "127.0.0.1:" + std::to_string(port_);
    write("", "config.yml",
          "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: " +
              dir_.path() + "/storage}, delete: {enabled: true}}\nhttp:\n  addr: " + origin_ + "\n  secret: s\n" +
              http_settings + settings);
    std::string const config = dir_ / "config.yml", log = dir_ / "log";
    char const* const arguments[] = {kProgram, "serve", config.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int const stream : {1, 2}) {
      posix_spawn_file_actions_addopen(&actions, stream, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    }
    ASSERT_EQ(::posix_spawnp(&pid_, kProgram, &actions, nullptr, const_cast<char**>(arguments), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 500 && !answers(); ++i) std::this_thread::sleep_for(10ms);
    ASSERT_TRUE(answers()) << sys::read_file(log).value_or("no log");
  }
  void stop() {
    if (pid_ == 0) return;
    (void)sys::kill(pid_, SIGKILL).ok();
    (void)sys::wait_for(pid_).ok();
    pid_ = 0;
  }
  bool answers() const {
    auto const address = sys::resolve_host("127.0.0.1", port_).value();
    UniqueFd const socket = sys::tcp_socket(address.at(0)).value();
    if (!sys::start_connect(socket.get(), address.at(0)).ok()) return false;
    pollfd ready{socket.get(), POLLOUT, 0};
    return sys::poll(std::span(&ready, 1), 1000).value_or(0) == 1 && sys::connect_outcome(socket.get()).ok();
  }

  Client::Open open(std::string const& blob) {
    return [&blob](std::uint64_t offset) -> Result<std::unique_ptr<codec::Source>> {
      return std::unique_ptr<codec::Source>(
          std::make_unique<codec::MemorySource>(std::string_view(blob).substr(offset), 65536));
    };
  }
  Result<void> push(std::string const& blob, std::string const& path = "a/b") {
    return client().upload_blob(repository(origin_, path), testing::digest_of_text(blob), blob.size(), open(blob));
  }
  std::string pull(std::string const& blob, std::uint64_t offset = 0) {
    auto source = client().blob(repository(origin_), testing::descriptor_of(blob), offset);
    if (!source.ok()) return source.error().to_string();
    auto bytes = codec::read_all(**source, blob.size());
    return bytes.ok() ? *bytes : bytes.error().to_string();
  }
  // An image of one blob; its manifest.
  std::string push_image(std::string const& tag, std::string const& blob) {
    EXPECT_TRUE(push(blob).ok());
    EXPECT_TRUE(push("{}").ok());
    oci::Manifest manifest{std::string(oci::kOciManifest), "", testing::descriptor_of("{}"), {}, {}, {}};
    manifest.config.media_type = oci::kOciConfig;
    manifest.layers.push_back(testing::descriptor_of(blob));
    std::string const text = oci::to_json(manifest);
    auto const stored = client().put_manifest(repository(origin_), tag, text, oci::kOciManifest);
    EXPECT_TRUE(stored.ok()) << stored.error().to_string();
    return text;
  }

  pid_t pid_ = 0;
  std::uint16_t port_ = 0;
  std::string origin_;
};

TEST_F(DockerRegistry, PushAndPull) {
  start();
  std::string const blob = testing::some_bytes(3'000'000);
  auto const target = repository(origin_);
  EXPECT_FALSE(client().has_blob(target, testing::digest_of_text(blob)).value());
  std::string const manifest = push_image("v1", blob);
  EXPECT_TRUE(client().has_blob(target, testing::digest_of_text(blob)).value());
  EXPECT_TRUE(pull(blob) == blob);
  EXPECT_TRUE(pull(blob, 1'000'000) == blob.substr(1'000'000));
  auto const found = client().manifest(target, "v1");
  ASSERT_TRUE(found.ok()) << found.error().to_string();
  EXPECT_EQ(found->bytes, manifest);
  EXPECT_EQ(client().head_manifest(target, found->digest.text())->size, manifest.size());
  EXPECT_EQ(client().tags(target).value(), std::vector<std::string>{"v1"});
  EXPECT_EQ(client().manifest(target, "v2").error().code(), Errc::kNotFound);
  EXPECT_EQ(client().manifest(repository(origin_, "no/such"), "v1").error().code(), Errc::kNotFound);
  EXPECT_TRUE(client().delete_manifest(target, found->digest).ok());
  EXPECT_EQ(client().manifest(target, "v1").error().code(), Errc::kNotFound);
}

TEST_F(DockerRegistry, MountsAndStreams) {
  start();
  std::string const blob = testing::some_bytes(100'000);
  ASSERT_TRUE(push(blob).ok());
  auto const other = repository(origin_, "other/repo");
  EXPECT_TRUE(client().mount_blob(other, testing::digest_of_text(blob), "a/b").value());
  EXPECT_TRUE(client().has_blob(other, testing::digest_of_text(blob)).value());
  EXPECT_FALSE(client().mount_blob(other, testing::digest_of_text("none"), "a/b").value());

  std::string const streamed = testing::some_bytes(2'500'000);
  codec::MemorySource source(streamed, 50'000);
  auto upload = client().stream_blob(repository(origin_), source);
  ASSERT_TRUE(upload.ok()) << upload.error().to_string();
  auto const done = (*upload)->commit(testing::digest_of_text(streamed));
  ASSERT_TRUE(done.ok()) << done.error().to_string();
  EXPECT_TRUE(pull(streamed) == streamed);
}

TEST_F(DockerRegistry, AWrongDigestIsNotStored) {
  start();
  std::string const blob = testing::some_bytes(1000);
  auto const wrong = testing::digest_of_text("other");
  auto const done = client().upload_blob(repository(origin_), wrong, blob.size(), open(blob));
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Errc::kInvalidArgument) << done.error().to_string();
  EXPECT_FALSE(client().has_blob(repository(origin_), wrong).value());
}

TEST_F(DockerRegistry, APullGoesOnAfterARestart) {
  start();
  std::string const blob = testing::some_bytes(30'000'000);
  ASSERT_TRUE(push(blob).ok());
  auto source = client().blob(repository(origin_), testing::descriptor_of(blob));
  ASSERT_TRUE(source.ok());
  std::string bytes;
  while (bytes.size() < 1'000'000) bytes += (*source)->next().value();
  stop();
  start();
  for (;;) {
    auto const more = (*source)->next();
    ASSERT_TRUE(more.ok()) << more.error().to_string();
    if (more->empty()) break;
    bytes += *more;
  }
  EXPECT_TRUE(bytes == blob);
}

TEST_F(DockerRegistry, Referrers) {
  start();
  std::string const subject = push_image("v1", testing::some_bytes(1000));
  oci::Manifest sbom{std::string(oci::kOciManifest), "application/x-sbom", testing::descriptor_of("{}"), {}, {}, {}};
  sbom.config.media_type = oci::kOciEmpty;
  sbom.subject = testing::descriptor_of(subject);
  sbom.subject->media_type = oci::kOciManifest;
  std::string const text = oci::to_json(sbom);
  auto const target = repository(origin_);
  auto const digest = testing::digest_of_text(text);
  auto const put = client().put_manifest(target, digest.text(), text, oci::kOciManifest);
  ASSERT_TRUE(put.ok()) << put.error().to_string();
  auto const found = client().referrers(target, testing::digest_of_text(subject), "application/x-sbom");
  ASSERT_TRUE(found.ok()) << found.error().to_string();
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(found->at(0).digest, digest);
}

TEST_F(DockerRegistry, Passwords) {
  // bcrypt of "secret"
  write("", "htpasswd", "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n");
  start("", "auth: {htpasswd: {realm: test, path: " + (dir_ / "htpasswd") + "}}\n");
  std::string const blob = testing::some_bytes(5000);
  EXPECT_EQ(push(blob).error().code(), Errc::kPermissionDenied);
  EXPECT_EQ(client().check_login(origin_, {"user", "wrong", "", ""}).error().code(), Errc::kPermissionDenied);
  EXPECT_TRUE(client().check_login(origin_, {"user", "secret", "", ""}).ok());
  credentials_.all[origin_] = {"user", "secret", "", ""};
  client_.reset();
  ASSERT_TRUE(push(blob).ok());
  EXPECT_TRUE(pull(blob) == blob);
}

TEST_F(DockerRegistry, TlsWithItsOwnCa) {
  wire::testing::TestCa ca;
  auto const identity = ca.issue({.names = {"127.0.0.1"}});
  write("", "server.pem", identity.certificate_pem());
  write("", "server.key", identity.key_pem());
  start("  tls: {certificate: " + (dir_ / "server.pem") + ", key: " + (dir_ / "server.key") + "}\n");
  write(origin_, "ca.crt", wire::testing::TestCa().certificate_pem());
  std::string const blob = testing::some_bytes(3'000'000);
  EXPECT_EQ(push(blob).error().code(), Errc::kPermissionDenied);
  write(origin_, "ca.crt", ca.certificate_pem());
  client_.reset();
  auto const pushed = push(blob);
  ASSERT_TRUE(pushed.ok()) << pushed.error().to_string();
  EXPECT_TRUE(pull(blob) == blob);
}

}  // namespace
}  // namespace davit::registry
