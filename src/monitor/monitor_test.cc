// The monitor with real processes, but plain shells in place of containers: the runtime is replaced by a fork.
#include "monitor/monitor.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/text.h"
#include "monitor/control_message.h"
#include "monitor/log/reader.h"
#include "sys/children.h"
#include "sys/file.h"
#include "sys/pipe.h"
#include "sys/unix_socket.h"

namespace davit::monitor {
namespace {

using namespace std::chrono_literals;

// What runtime::create and exec do with the process: clone a child of the caller's parent and execute.
pid_t spawn(std::string const& script, std::array<int, 3> stdio, int console_socket) {
  int master = -1, slave = -1;
  if (console_socket >= 0) {
    master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ::grantpt(master);
    ::unlockpt(master);
    slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    stdio = {slave, slave, slave};
  }
  sys::abi::CloneArgs args{};
  args.flags = CLONE_PARENT;
  sys::Cloned const child = sys::clone3(args).value();
  if (child.pid == 0) {
    ::setsid();
    if (slave >= 0) ::ioctl(slave, TIOCSCTTY, 0);
    for (int i = 0; i < 3; ++i) ::dup2(stdio[i], i);
    ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    ::_exit(127);
  }
  if (master >= 0) {
    sys::send_fds(console_socket, "/dev/ptmx", std::array{master}).value();
    ::close(master);
    ::close(slave);
  }
  return child.pid;
}

// One control connection.
class Client {
 public:
  explicit Client(std::string const& path) : socket_(sys::connect_unix(path, SOCK_SEQPACKET).value()) {}

  void send(Request type, std::vector<std::pair<Tag, std::string>> const& fields = {},
            std::vector<int> const& fds = {}) {
    ControlWriter writer(static_cast<std::uint8_t>(type), ++id_);
    for (auto const& [tag, value] : fields) EXPECT_TRUE(writer.add(tag, value));
    sys::send_fds(socket_.get(), writer.packet(), fds).value();
  }

  struct Answer {
    bool received = false;
    std::uint8_t type = 0;
    int status = -1;
    std::string json, message;
  };
  Answer receive(int timeout_ms = 10'000) {
    pollfd ready{socket_.get(), POLLIN, 0};
    if (::poll(&ready, 1, timeout_ms) != 1) return {};
    std::string packet(kMaxControlMessage, '\0');
    auto received = sys::recv_fds(socket_.get(), packet).value();
    if (received.size == 0) return {};
    packet.resize(received.size);
    ControlMessage const message = ControlMessage::parse(packet).value();
    Answer answer{true, message.type, message.has(Tag::kStatus) ? message.text(Tag::kStatus)->at(0) : -1,
                  std::string(message.text(Tag::kJson).value_or("")),
                  std::string(message.text(Tag::kMessage).value_or(""))};
    return answer;
  }
  Answer ask(Request type, std::vector<std::pair<Tag, std::string>> const& fields = {},
             std::vector<int> const& fds = {}) {
    send(type, fields, fds);
    return receive();
  }
  int fd() const { return socket_.get(); }

 private:
  UniqueFd socket_;
  std::uint32_t id_ = 0;
};

std::string u32(std::uint32_t value) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(value >> (8 * i));
  return bytes;
}

// Everything until the other side closes.
std::string drain(int fd, int timeout_ms = 10'000) {
  std::string all;
  for (char bytes[65536];;) {
    pollfd ready{fd, POLLIN, 0};
    if (::poll(&ready, 1, timeout_ms) != 1) return all + "<timeout>";
    ssize_t const count = ::read(fd, bytes, sizeof bytes);
    if (count <= 0) return all;
    all.append(bytes, static_cast<std::size_t>(count));
  }
}

std::string read_until(int fd, std::string const& end, int timeout_ms = 10'000) {
  std::string all;
  for (char c; !all.ends_with(end);) {
    pollfd ready{fd, POLLIN, 0};
    if (::poll(&ready, 1, timeout_ms) != 1 || ::read(fd, &c, 1) != 1) return all + "<end>";
    all += c;
  }
  return all;
}

class Monitor : public testing::Test {
 protected:
  Monitor() {
    char name[] = "/tmp/davit-monitor-XXXXXX";
    dir_ = ::mkdtemp(name);
    options_.container.id = "c1";
    options_.container.bundle = dir_;
    options_.container.root = dir_;
    options_.control_path = dir_ + "/control.sock";
    options_.exit_record_path = dir_ + "/exit.json";
    options_.log = log::parse_log_options("json-file", dir_ + "/log", {}).value();
  }
  ~Monitor() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    (void)sys::remove_tree(dir_);
  }

  // Forks the monitor; returns the pid its ready callback told, or -1.
  pid_t launch(std::string const& script) {
    sys::Pipe ready = sys::pipe().value();
    pid_ = ::fork();
    if (pid_ == 0) {
      options_.create_container = [script](runtime::CreateOptions const& create) -> Result<runtime::State> {
        if (script == "fail") return Error(Errc::kNotFound, "no such bundle");
        runtime::State state;
        state.pid = spawn(create.start_at_once ? script : "read go < " + create.root + "/go; " + script, create.stdio,
                          create.console_socket_fd);
        return state;
      };
      options_.start_container = [](std::string const& root, std::string const&) -> Result<void> {
        return sys::write_all(sys::open(root + "/go", O_WRONLY).value().get(), "go\n");
      };
      options_.exec_process = [](runtime::ExecOptions const& exec) -> Result<pid_t> {
        if (exec.process.args[0] == "fail") return Error(Errc::kNotFound, "exec: no such file");
        return spawn(exec.process.args[0], exec.stdio, exec.console_socket_fd);
      };
      options_.ready = [&](Result<pid_t> const& result) {
        pid_t const pid = result.ok() ? *result : -1;
        (void)!::write(ready.write_end.get(), &pid, sizeof pid);
      };
      Result<void> const result = run(std::move(options_));
      ::_exit(result.ok() ? 0 : 1);
    }
    ready.write_end.reset();
    pid_t pid = -2;
    (void)!::read(ready.read_end.get(), &pid, sizeof pid);
    return pid;
  }

  int wait_for_monitor() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string log_text() {
    auto reader = log::LogReader::open({.driver = options_.log.driver, .path = options_.log.path}).value();
    std::string text;
    while (auto entry = reader.next().value())
      text += (entry->stream == log::Stream::kStdout ? "" : "E:") + entry->text;
    return text;
  }
  std::string record() { return sys::read_file(options_.exit_record_path).value_or("none"); }
  Client client() { return Client(options_.control_path); }
  // A file with an exec process whose "program" is a shell script.
  std::vector<std::pair<Tag, std::string>> exec_fields(std::string const& id, std::string const& script,
                                                       std::uint32_t flags, bool terminal = false) {
    std::string const path = dir_ + "/" + id + ".json";
    UniqueFd const file = sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    sys::write_all(file.get(), "{\"args\":[\"" + script +
                                   "\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0},\"terminal\":" +
                                   (terminal ? "true" : "false") + "}")
        .value();
    return {{Tag::kExecId, id}, {Tag::kPath, path}, {Tag::kFlags, u32(flags | (terminal ? kFlagTerminal : 0))}};
  }

  std::string dir_;
  MonitorOptions options_;
  pid_t pid_ = 0;
};

TEST_F(Monitor, LogsBothStreamsAndRecordsTheExitCode) {
  pid_t const pid = launch("echo out; echo err >&2; printf end; exit 7");
  EXPECT_GT(pid, 0);
  EXPECT_EQ(wait_for_monitor(), 0);
  std::string const text = log_text();
  EXPECT_NE(text.find("out\n"), std::string::npos);
  EXPECT_NE(text.find("E:err\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("end"));
  EXPECT_NE(record().find("\"exit_code\":7,\"signal\":0,\"oom_killed\":false"), std::string::npos) << record();
  EXPECT_NE(record().find("\"pid\":" + std::to_string(pid)), std::string::npos);
  EXPECT_FALSE(sys::exists(options_.control_path));
}

TEST_F(Monitor, RecordsAKillingSignal) {
  launch("kill -9 $$");
  EXPECT_EQ(wait_for_monitor(), 0);
  EXPECT_NE(record().find("\"exit_code\":137,\"signal\":9"), std::string::npos) << record();
}

TEST_F(Monitor, TellsWhyCreationFailed) {
  EXPECT_EQ(launch("fail"), -1);
  EXPECT_EQ(wait_for_monitor(), 1);
  EXPECT_EQ(record(), "none");
}

TEST_F(Monitor, WaitAnswersAfterTheRecordIsWritten) {
  launch("sleep 0.3; exit 3");
  Client c = client();
  auto const answer = c.ask(Request::kWait);
  ASSERT_TRUE(answer.received);
  EXPECT_EQ(answer.status, 0);
  EXPECT_NE(answer.json.find("\"exit_code\":3"), std::string::npos);
  EXPECT_EQ(record(), answer.json + "\n");
  EXPECT_EQ(wait_for_monitor(), 0);
}

TEST_F(Monitor, SurvivesItsParentAndAGoneClient) {
  // The parent of the monitor is killed; the container goes on, is logged, and its code recorded.
  sys::Pipe told = sys::pipe().value();
  pid_t const parent = ::fork();
  if (parent == 0) {
    launch("sleep 0.5; echo late; exit 5");
    (void)!::write(told.write_end.get(), &pid_, sizeof pid_);
    pid_ = 0;
    ::pause();
  }
  pid_t monitor = 0;
  ASSERT_EQ(::read(told.read_end.get(), &monitor, sizeof monitor), static_cast<ssize_t>(sizeof monitor));
  { Client gone = client(); }
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  auto const answer = client().ask(Request::kWait);
  EXPECT_NE(answer.json.find("\"exit_code\":5"), std::string::npos);
  EXPECT_EQ(log_text(), "late\n");
}

TEST_F(Monitor, CreateOnlyStartsOnRequest) {
  options_.start = false;
  ASSERT_EQ(::mkfifo((dir_ + "/go").c_str(), 0600), 0);
  launch("echo started");
  Client c = client();
  EXPECT_NE(c.ask(Request::kState).json.find("\"status\":\"created\""), std::string::npos);
  c.send(Request::kWait);
  EXPECT_EQ(c.ask(Request::kStart).status, 0);
  EXPECT_NE(c.receive().json.find("\"exit_code\":0"), std::string::npos);
  EXPECT_EQ(wait_for_monitor(), 0);
  EXPECT_EQ(log_text(), "started\n");
}

TEST_F(Monitor, AttachFramesOutputAndPassesInputWithHalfClose) {
  options_.stdin_mode = StdinMode::kOnce;
  launch("cat; echo done >&2");
  auto pair = sys::socket_pair(SOCK_STREAM).value();
  Client c = client();
  ASSERT_EQ(c.ask(Request::kAttach, {{Tag::kStreams, u32(7)}, {Tag::kLeftover, "early "}}, {pair.second.get()}).status,
            0);
  pair.second.reset();
  sys::write_all(pair.first.get(), "hello\n").value();
  sys::shutdown_write(pair.first.get());
  std::string all = drain(pair.first.get()), out, err;
  while (all.size() >= 8) {
    std::size_t const size = static_cast<unsigned char>(all[7]);
    (all[0] == 1 ? out : err) += all.substr(8, size);
    all.erase(0, 8 + size);
  }
  EXPECT_EQ(out, "early hello\n");
  EXPECT_EQ(err, "done\n");
  EXPECT_EQ(wait_for_monitor(), 0);
}

TEST_F(Monitor, OneSlowClientLosesNothingAndOthersGetAll) {
  launch(
      "sleep 0.3; i=0; while [ $i -lt 30000 ]; do echo "
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789; "
      "i=$((i+1)); done");
  auto slow = sys::socket_pair(SOCK_STREAM).value();
  auto fast = sys::socket_pair(SOCK_STREAM).value();
  Client c = client();
  ASSERT_EQ(c.ask(Request::kAttach, {{Tag::kFlags, u32(kFlagRaw)}}, {slow.second.get()}).status, 0);
  ASSERT_EQ(c.ask(Request::kAttach, {{Tag::kFlags, u32(kFlagRaw)}}, {fast.second.get()}).status, 0);
  slow.second.reset();
  fast.second.reset();
  std::string fast_text;
  std::thread reader([&] { fast_text = drain(fast.first.get(), 20'000); });
  std::this_thread::sleep_for(1500ms);
  std::string const slow_text = drain(slow.first.get());
  reader.join();
  EXPECT_EQ(slow_text.size(), 30000u * 101);
  EXPECT_EQ(fast_text.size(), 30000u * 101);
  EXPECT_EQ(wait_for_monitor(), 0);
  EXPECT_EQ(log_text().size(), 30000u * 101);
}

TEST_F(Monitor, ATerminalResizesAndDetaches) {
  options_.terminal = true;
  options_.stdin_mode = StdinMode::kOpen;
  launch("stty -echo; echo ready; read line; stty size; read line; echo got $line");
  auto pair = sys::socket_pair(SOCK_STREAM).value();
  Client c = client();
  c.ask(Request::kSubscribe);
  ASSERT_EQ(c.ask(Request::kResize, {{Tag::kWidth, u32(101)}, {Tag::kHeight, u32(33)}}).status, 0);
  ASSERT_EQ(
      c.ask(Request::kAttach, {{Tag::kStreams, u32(7)}, {Tag::kDetachKeys, "\x10\x11"}}, {pair.second.get()}).status,
      0);
  pair.second.reset();
  std::this_thread::sleep_for(300ms);
  sys::write_all(pair.first.get(), "x\n").value();
  EXPECT_NE(read_until(pair.first.get(), "33 101\r\n").find("33 101"), std::string::npos);
  sys::write_all(pair.first.get(), "\x10\x11").value();
  EXPECT_EQ(drain(pair.first.get()), "");
  EXPECT_EQ(c.receive().json, R"({"event":"detach"})");
  auto again = sys::socket_pair(SOCK_STREAM).value();
  ASSERT_EQ(c.ask(Request::kAttach, {{Tag::kStreams, u32(7)}}, {again.second.get()}).status, 0);
  again.second.reset();
  sys::write_all(again.first.get(), "bye\n").value();
  EXPECT_EQ(drain(again.first.get()), "got bye\r\n");
  EXPECT_EQ(wait_for_monitor(), 0);
}

TEST_F(Monitor, ExecSessionsHaveTheirOwnStreamsAndCodes) {
  launch("sleep 5");
  Client c = client();
  std::vector<sys::SocketPair> pairs;
  for (int i = 0; i < 20; ++i) {
    pairs.push_back(sys::socket_pair(SOCK_STREAM).value());
    std::string const n = std::to_string(i);
    auto const answer =
        c.ask(Request::kExec, exec_fields("e" + n, "sleep 0.1; echo exec " + n + "; exit " + n, kFlagClient | kFlagRaw),
              {pairs.back().second.get()});
    ASSERT_EQ(answer.status, 0) << answer.message;
    pairs.back().second.reset();
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(drain(pairs[static_cast<std::size_t>(i)].first.get()), "exec " + std::to_string(i) + "\n");
    auto const answer = c.ask(Request::kExecWait, {{Tag::kExecId, "e" + std::to_string(i)}});
    EXPECT_NE(answer.json.find("\"exit_code\":" + std::to_string(i)), std::string::npos) << answer.json;
  }
  EXPECT_NE(c.ask(Request::kExecList).json.find("\"e19\""), std::string::npos);
  EXPECT_EQ(c.ask(Request::kSignal, {{Tag::kSignal, u32(SIGKILL)}}).status, 0);
  EXPECT_EQ(wait_for_monitor(), 0);
  EXPECT_EQ(log_text(), "");
  EXPECT_NE(record().find("\"signal\":9"), std::string::npos);
}

TEST_F(Monitor, ExecTakesItsProcessFromADescriptorAndInput) {
  launch("sleep 5");
  Client c = client();
  UniqueFd const memory(::memfd_create("process", MFD_CLOEXEC));
  sys::write_all(memory.get(), R"({"args":["cat; exit 4"],"cwd":"/","user":{"uid":0,"gid":0}})").value();
  ::lseek(memory.get(), 0, SEEK_SET);
  auto pair = sys::socket_pair(SOCK_STREAM).value();
  auto const answer =
      c.ask(Request::kExec,
            {{Tag::kExecId, "m"}, {Tag::kStreams, u32(7)}, {Tag::kFlags, u32(kFlagClient | kFlagRaw | kFlagProcessFd)}},
            {memory.get(), pair.second.get()});
  ASSERT_EQ(answer.status, 0) << answer.message;
  pair.second.reset();
  sys::write_all(pair.first.get(), "ping").value();
  sys::shutdown_write(pair.first.get());
  EXPECT_EQ(drain(pair.first.get()), "ping");
  EXPECT_NE(c.ask(Request::kExecWait, {{Tag::kExecId, "m"}}).json.find("\"exit_code\":4"), std::string::npos);
}

TEST_F(Monitor, AnExecThatFailsSaysWhyAndLeavesNothing) {
  launch("sleep 5");
  Client c = client();
  auto const answer = c.ask(Request::kExec, exec_fields("bad", "fail", 0));
  EXPECT_EQ(answer.status, static_cast<int>(Errc::kNotFound) + 1);
  EXPECT_EQ(c.ask(Request::kExecInspect, {{Tag::kExecId, "bad"}}).status, static_cast<int>(Errc::kNotFound) + 1);
}

TEST_F(Monitor, AnExecWithABackgroundChildEnds) {
  launch("sleep 8");
  Client c = client();
  auto pair = sys::socket_pair(SOCK_STREAM).value();
  ASSERT_EQ(c.ask(Request::kExec, exec_fields("bg", "sleep 7 & echo out", kFlagClient | kFlagRaw), {pair.second.get()})
                .status,
            0);
  pair.second.reset();
  auto const begin = std::chrono::steady_clock::now();
  EXPECT_EQ(drain(pair.first.get()), "out\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s);
}

TEST_F(Monitor, BadRequestsAreAnsweredAndHarmless) {
  launch("sleep 5");
  Client c = client();
  struct Row {
    std::string packet;
    Errc code;
  };
  ControlWriter unknown(99, 1);
  ControlWriter no_fd(static_cast<std::uint8_t>(Request::kAttach), 1);
  ControlWriter bad_signal(static_cast<std::uint8_t>(Request::kSignal), 1);
  bad_signal.add_number(Tag::kSignal, 65);
  ControlWriter not_number(static_cast<std::uint8_t>(Request::kSignal), 1);
  not_number.add(Tag::kSignal, "9");
  ControlWriter no_terminal(static_cast<std::uint8_t>(Request::kResize), 1);
  for (Row const& row : {Row{"x", Errc::kInvalidArgument}, Row{std::string(8, '\0'), Errc::kInvalidArgument},
                         Row{unknown.packet(), Errc::kUnimplemented}, Row{no_fd.packet(), Errc::kInvalidArgument},
                         Row{bad_signal.packet(), Errc::kInvalidArgument},
                         Row{not_number.packet(), Errc::kInvalidArgument}, Row{no_terminal.packet(), Errc::kConflict},
                         Row{unknown.packet() + std::string("\x05\0\xff\xff", 4), Errc::kInvalidArgument}}) {
    sys::send_fds(c.fd(), row.packet, {}).value();
    auto const answer = c.receive();
    ASSERT_TRUE(answer.received);
    EXPECT_EQ(answer.status, static_cast<int>(row.code) + 1) << answer.message;
  }
  EXPECT_EQ(c.ask(Request::kState).status, 0);
}

TEST_F(Monitor, LingersUntilTheRecordIsCollected) {
  options_.linger = 30s;
  launch("exit 2");
  Client c = client();
  EXPECT_EQ(c.ask(Request::kWait).status, 0);
  EXPECT_NE(c.ask(Request::kState).json.find("\"stopped\""), std::string::npos);
  EXPECT_NE(c.ask(Request::kCollect).json.find("\"exit_code\":2"), std::string::npos);
  EXPECT_EQ(wait_for_monitor(), 0);
}

TEST_F(Monitor, CompressesRotatedLogsInTheBackground) {
  options_.log = log::parse_log_options("json-file", dir_ + "/log",
                                        {{"max-size", "50k"}, {"max-file", "200"}, {"compress", "true"}})
                     .value();
  launch("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; sleep 1");
  EXPECT_EQ(wait_for_monitor(), 0);
  // The newest may have been rotated just before the end: it is then compressed later, or not.
  EXPECT_TRUE(sys::exists(dir_ + "/log.1.gz") || sys::exists(dir_ + "/log.2.gz"));
  EXPECT_TRUE(log_text().ends_with("line 4999\n"));
  EXPECT_TRUE(log_text().starts_with("line 0\n"));
}

TEST_F(Monitor, ForwardsTerminationSignals) {
  launch("trap 'exit 9' TERM; while :; do sleep 0.1; done");
  std::this_thread::sleep_for(200ms);
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(wait_for_monitor(), 0);
  EXPECT_NE(record().find("\"exit_code\":9"), std::string::npos);
}

}  // namespace
}  // namespace davit::monitor
