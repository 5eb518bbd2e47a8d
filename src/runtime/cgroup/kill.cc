#include <signal.h>

#include "base/text.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/tree.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace {

// A fork bomb gets this many rounds before we say that it won.
constexpr int kRounds = 100;

Result<void> signal_each(std::vector<int> const& pids, int signal) {
  for (int const pid : pids) {
    long const result = sys::raw::kill(pid, signal);
    if (result < 0 && result != -ESRCH) {
      return Error::from_errno(static_cast<int>(-result),
                               "send signal " + std::to_string(signal) + " to process " + std::to_string(pid));
    }
  }
  return {};
}

bool is_missing(Error const& error) { return error.error_number() == ENOENT || error.error_number() == ENODEV; }

// Linux 5.14's cgroup.kill reaches groups below and processes that fork meanwhile, frozen ones too. False: not there.
Result<bool> kill_at_once(CgroupDirectory const* v2) {
  if (v2 == nullptr) return false;
  Result<void> killed = v2->write("cgroup.kill", "1");
  if (killed) return true;
  if (!is_missing(killed.error())) return std::move(killed).take_error();
  return false;
}

}  // namespace

Result<void> Cgroup::signal_all(int signal) {
  if (signal != SIGKILL) {
    std::vector<int> const pids = TRY(processes());
    return signal_each(pids, signal);
  }
  CgroupDirectory const* const v2 = v2_directory();
  CgroupDirectory const* const v1_freezer = v1_directory("freezer");
  bool const swept = TRY(kill_at_once(v2));
  if (swept && pure_v2()) return {};
  Backoff backoff(std::chrono::seconds(2));
  for (int round = 0; round < kRounds; ++round) {
    // Frozen, none of them can fork while the list is read, nor can a listed id pass to a stranger. After cgroup.kill
    // only processes that left our v2 group are of interest, and a group that will not freeze is killed running.
    bool const freeze_first = !swept && (v1_freezer != nullptr || v2 != nullptr);
    if (freeze_first && round % 2 == 0) static_cast<void>(freeze().ok());
    Result<std::vector<int>> pids = processes();
    Result<void> sent = pids ? signal_each(*pids, SIGKILL) : Result<void>();
    // A process that the v1 freezer holds dies only when it runs again.
    if (v1_freezer != nullptr || freeze_first) {
      Result<void> thawed = thaw();
      if (!thawed && !is_missing(thawed.error())) return std::move(thawed).take_error();
    }
    if (!pids) return std::move(pids).take_error();
    if (!sent) return sent;
    if (pids->empty()) return {};
    backoff.wait();
  }
  return Error(Errc::kDeadlineExceeded,
               "kill all processes: some are left after " + std::to_string(kRounds) + " rounds");
}

}  // namespace davit::runtime
