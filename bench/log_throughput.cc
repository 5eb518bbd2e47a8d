// What a program that prints 1,000,000 lines of 100 bytes takes under the monitor's log, against a plain pipe to a
// reader that discards. Alternating runs; prints ratios. The program is a forked loop in place of a container: what is
// measured is the time until it has printed everything, and until the log is complete.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "monitor/monitor.h"
#include "sys/children.h"
#include "sys/file.h"
#include "sys/pipe.h"
#include "sys/polling.h"
#include "sys/process.h"

namespace {

using namespace davit;

constexpr int kLines = 1'000'000;
constexpr int kRounds = 5;

// Writes kLines lines in writes of about `batch` bytes and then the time it took to `result`.
[[noreturn]] void print_lines(int out, std::size_t batch, int result) {
  std::string const line = std::string(99, 'x') + "\n";
  std::string buffer;
  std::int64_t const begin = sys::monotonic_nanos();
  for (int i = 0; i < kLines; ++i) {
    buffer += line;
    if (buffer.size() + line.size() > batch) {
      if (!sys::write_all(out, buffer)) _exit(1);
      buffer.clear();
    }
  }
  if (!sys::write_all(out, buffer)) _exit(1);
  std::int64_t const taken = sys::monotonic_nanos() - begin;
  if (::write(result, &taken, sizeof taken) != sizeof taken) _exit(1);
  _exit(0);
}

struct Times {
  double printing = 0, whole = 0;  // milliseconds
};

Times finish(sys::Pipe& result, std::int64_t begin) {
  std::int64_t printing = 0;
  result.write_end.reset();
  if (::read(result.read_end.get(), &printing, sizeof printing) != sizeof printing) std::abort();
  while (::wait(nullptr) > 0) {
  }
  return {static_cast<double>(printing) / 1e6, static_cast<double>(sys::monotonic_nanos() - begin) / 1e6};
}

Times discard(std::size_t batch) {
  sys::Pipe result = sys::pipe().value(), output = sys::pipe().value();
  std::int64_t const begin = sys::monotonic_nanos();
  if (::fork() == 0) print_lines(output.write_end.get(), batch, result.write_end.get());
  output.write_end.reset();
  if (::fork() == 0) {
    std::vector<char> bytes(64 * 1024);
    while (::read(output.read_end.get(), bytes.data(), bytes.size()) > 0) {
    }
    _exit(0);
  }
  return finish(result, begin);
}

Times monitored(std::size_t batch, std::string const& driver, monitor::log::KeyValues const& log_options) {
  sys::Pipe result = sys::pipe().value();
  char dir[] = "/var/tmp/davit-bench-XXXXXX";
  if (::mkdtemp(dir) == nullptr) std::abort();
  std::int64_t const begin = sys::monotonic_nanos();
  if (::fork() == 0) {
    result.read_end.reset();
    monitor::MonitorOptions options;
    options.container.id = "bench";
    options.log = monitor::log::parse_log_options(driver, std::string(dir) + "/log", log_options).value();
    options.create_container = [&](runtime::CreateOptions const& create) -> Result<runtime::State> {
      sys::abi::CloneArgs args{};
      args.flags = CLONE_PARENT;
      runtime::State state;
      sys::Cloned const child = sys::clone3(args).value();
      if (child.pid == 0) print_lines(create.stdio[1], batch, result.write_end.get());
      state.pid = child.pid;
      return state;
    };
    options.ready = [&](Result<pid_t> const&) { result.write_end.reset(); };
    _exit(monitor::run(std::move(options)).ok() ? 0 : 1);
  }
  Times const times = finish(result, begin);
  (void)sys::remove_tree(dir);
  return times;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void compare(std::string const& name, std::size_t batch, std::string const& driver,
             monitor::log::KeyValues const& log_options) {
  std::vector<double> plain, printing, whole;
  for (int round = 0; round < kRounds; ++round) {
    plain.push_back(discard(batch).printing);
    Times const times = monitored(batch, driver, log_options);
    printing.push_back(times.printing);
    whole.push_back(times.whole);
  }
  std::printf("%-34s pipe %7.1f ms   monitor %7.1f ms   ratio %.2f   (log complete after %.1f ms)\n", name.c_str(),
              median(plain), median(printing), median(printing) / median(plain), median(whole));
}

}  // namespace

int main() {
  for (std::size_t const batch : {std::size_t{100}, std::size_t{4096}, std::size_t{65536}}) {
    std::string const writes = ", writes of " + std::to_string(batch);
    compare("json-file" + writes, batch, "json-file", {});
    compare("json-file 10m x 3" + writes, batch, "json-file", {{"max-size", "10m"}, {"max-file", "3"}});
    compare("local" + writes, batch, "local", {{"compress", "false"}});
    compare("cri" + writes, batch, "cri", {});
  }
  return 0;
}
