#include "runtime/criu_service.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "base/text.h"
#include "sys/children.h"
#include "sys/file.h"
#include "sys/memfd.h"
#include "sys/process.h"
#include "sys/raw.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace raw = sys::raw;

namespace {

constexpr std::string_view kUsualDirectories = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr unsigned kNotify = 6;  // criu_req_type.NOTIFY
constexpr std::size_t kMaxAnswer = 64 * 1024;
constexpr int kLogLevel = 3;  // errors, warnings, information

std::string_view log_name(CriuOperation operation) {
  return operation == CriuOperation::kRestore ? "restore.log" : "dump.log";
}

std::string log_path(CriuJob const& job) { return fmt::format("{}/{}", job.work_path, log_name(job.operation)); }

[[noreturn]] void fail_child(char const* what, long result) {
  (void)sys::write_all(
      2, fmt::format("Error (davit): {}: {}\n", what, Error::from_errno(static_cast<int>(-result), "").message()));
  sys::exit_now(127);
}

// The bind is made in a mount namespace of CRIU's own: it is gone with CRIU, however that ends.
void bind_rootfs(CriuJob const& job) {
  long result = raw::unshare(CLONE_NEWNS);
  if (result < 0) fail_child("new mount namespace", result);
  result = raw::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr);
  if (result < 0) fail_child("make / a slave", result);
  result = raw::mount(job.rootfs.c_str(), job.rootfs_mount.c_str(), nullptr, MS_BIND | MS_REC, nullptr);
  if (result < 0) fail_child("bind the root file system", result);
}

[[noreturn]] void become_criu(CriuJob const& job, std::string const& program, int socket, int errors) {
  sys::restore_signals();
  long const null = raw::openat(AT_FDCWD, "/dev/null", O_RDWR);
  raw::dup3(static_cast<int>(null), 0, 0);
  raw::dup3(errors, 1, 0);
  raw::dup3(errors, 2, 0);
  for (int const fd : job.descriptors) raw::fcntl(fd, F_SETFD, 0);
  raw::fcntl(socket, F_SETFD, 0);
  if (!job.rootfs.empty()) bind_rootfs(job);
  (void)raw::write(socket, "r", 1);
  std::string const number = std::to_string(socket);
  std::array<char const*, 4> const arguments{"criu", "swrk", number.c_str(), nullptr};
  fail_child(program.c_str(), raw::execve(program.c_str(), arguments.data(), ::environ));
}

// Lines that CRIU writes on its way to success too: tools that a container without iptables rules does not need.
bool is_noise(std::string_view line) {
  constexpr std::array<std::string_view, 6> kNoise{
      "RLIMIT_NOFILE", "execvp(\"ip", "exited, status=", "-save -V failed", "-restore -V failed", "recv req error"};
  for (std::string_view const noise : kNoise) {
    if (line.find(noise) != std::string_view::npos) return true;
  }
  return false;
}

// "Error (criu/mount.c:753): mnt: ..." without the time stamp and the pid before it; the last ones, as those say what
// the failure ended in.
void collect_errors(std::string_view log, std::vector<std::string>& out) {
  constexpr std::size_t kKeep = 4;
  std::vector<std::string> found;
  for (std::string_view const line : split(log, '\n')) {
    std::size_t const at = line.find("Error (");
    if (at == std::string_view::npos || is_noise(line)) continue;
    found.emplace_back(trim(line.substr(at)));
  }
  std::size_t const skip = found.size() > kKeep ? found.size() - kKeep : 0;
  out.insert(out.end(), found.begin() + static_cast<std::ptrdiff_t>(skip), found.end());
}

// One exchange with a running CRIU.
class Session {
 public:
  Session(CriuJob const& job, UniqueFd socket) : job_(job), socket_(std::move(socket)) {}

  // True: CRIU did it. An error here says less than what CRIU has left in its log.
  Result<bool> run(pid_t criu) {
    std::array<char, 1> ready;
    sys::Received const greeting = TRY(sys::recv_fds(socket_.get(), ready));
    if (greeting.size == 0) return false;
    // As CRIU's mount namespace has them: it mounts in its working directory.
    std::string const root = fmt::format("/proc/{}/root", criu);
    UniqueFd const images = TRY(sys::open(root + job_.image_path, O_RDONLY | O_DIRECTORY));
    UniqueFd const work = TRY(sys::open(root + job_.work_path, O_RDONLY | O_DIRECTORY));
    TRY(send_request(images.get(), work.get()));
    return follow();
  }

  void close() { socket_.reset(); }
  pid_t restored() const { return restored_; }
  std::string const& message() const { return message_; }
  std::optional<Error>& refused() { return refused_; }

 private:
  Result<void> send_request(int images, int work) {
    CriuMessage options = job_.options;
    options.number(1, static_cast<std::uint64_t>(images));
    options.number(17, static_cast<std::uint64_t>(work));
    options.number(9, kLogLevel).text(10, log_name(job_.operation));
    options.flag(12, true);  // notify_scripts
    CriuMessage request;
    request.number(1, static_cast<unsigned>(job_.operation)).message(2, options);
    return sys::send_fds(socket_.get(), request.bytes(), {});
  }

  Result<bool> follow() {
    for (;;) {
      std::string buffer(kMaxAnswer, '\0');
      sys::Received received = TRY(sys::recv_fds(socket_.get(), buffer));
      if (received.size == 0) return false;
      auto const fields = TRY(parse_criu_message(std::string_view(buffer).substr(0, received.size)));
      Answer answer = TRY(read_answer(fields));
      if (answer.type != kNotify) return answer.success;
      if (!received.fds.empty()) answer.notification.descriptor = std::move(received.fds.front());
      TRY(acknowledge(answer.notification));
    }
  }

  struct Answer {
    std::uint64_t type = 0;
    bool success = false;
    CriuNotification notification;
  };

  // rpc.proto's criu_resp
  Result<Answer> read_answer(std::vector<CriuField> const& fields) {
    Answer answer;
    for (CriuField const& field : fields) {
      if (field.field == 1) answer.type = field.number;
      if (field.field == 2) answer.success = field.number != 0;
      if (field.field == 9) message_ = field.bytes;
      if (field.field != 4 && field.field != 5) continue;
      auto const inner = TRY(parse_criu_message(field.bytes));
      for (CriuField const& part : inner) {
        if (field.field == 4 && part.field == 1) restored_ = static_cast<pid_t>(part.number);
        if (field.field == 5 && part.field == 1) answer.notification.script = part.bytes;
        if (field.field == 5 && part.field == 2) answer.notification.pid = static_cast<pid_t>(part.number);
      }
    }
    return answer;
  }

  Result<void> acknowledge(CriuNotification& notification) {
    bool fine = true;
    if (job_.notify) {
      Result<void> handled = job_.notify(notification);
      fine = handled.ok();
      if (!fine && !refused_) refused_ = std::move(handled).take_error();
    }
    CriuMessage answer;
    answer.number(1, kNotify).number(3, fine ? 1 : 0);
    return sys::send_fds(socket_.get(), answer.bytes(), {});
  }

  CriuJob const& job_;
  UniqueFd socket_;
  pid_t restored_ = 0;
  std::string message_;
  std::optional<Error> refused_;
};

Error failure(CriuJob const& job, Session const& session, sys::Exited const& exited, int errors) {
  std::vector<std::string> lines;
  if (auto const text = sys::read_file(log_path(job), std::size_t{256} << 20); text.ok()) collect_errors(*text, lines);
  // What goes wrong before there is a log: a kernel that this CRIU cannot work with, say.
  if (lines.empty()) {
    if (auto const text = sys::memfd_content(errors); text.ok()) collect_errors(*text, lines);
  }
  if (lines.empty() && !session.message().empty()) lines.push_back(session.message());
  if (lines.empty()) lines.push_back(fmt::format("it ended with status {} and said nothing", exited.status()));
  return Error(Errc::kInternal, fmt::format("criu failed: {}", fmt::join(lines, "; ")));
}

}  // namespace

std::string find_program(std::string_view program) {
  char const* const path = std::getenv("PATH");
  std::string const directories = fmt::format("{}:{}", path == nullptr ? "" : path, kUsualDirectories);
  for (std::string_view const directory : split(directories, ':')) {
    if (!directory.starts_with('/')) continue;
    std::string file = fmt::format("{}/{}", directory, program);
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

Result<std::string> find_criu() {
  std::string program = find_program("criu");
  if (!program.empty()) return program;
  return Error(Errc::kUnimplemented,
               "criu is not installed, and it is what does the work: install the package criu (criu.org)");
}

Result<pid_t> run_criu(CriuJob const& job) {
  std::string const program = TRY(find_criu());
  UniqueFd const errors = TRY(sys::memfd("criu-errors"));
  sys::SocketPair pair = TRY(sys::socket_pair(SOCK_SEQPACKET));
  // An old log would be taken for this run's.
  (void)sys::unlink_at(AT_FDCWD, log_path(job));
  pid_t const criu = TRY(sys::fork());
  if (criu == 0) become_criu(job, program, pair.second.get(), errors.get());
  pair.second.reset();
  Session session(job, std::move(pair.first));
  Result<bool> done = session.run(criu);
  // CRIU ends when its socket closes; after a pre-dump it would wait for the next request.
  session.close();
  sys::Exited const exited = TRY(sys::wait_for(criu));
  if (session.refused()) return std::move(*session.refused());
  if (done.ok() && *done) return session.restored();
  return failure(job, session, exited, errors.get());
}

}  // namespace davit::runtime
