// v1: freezer.state (cgroup-v1/freezer-subsystem.rst); v2: cgroup.freeze and "frozen" in cgroup.events.
#include "base/text.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/stats.h"
#include "runtime/cgroup/tree.h"

namespace davit::runtime {

namespace {

// A process in an uninterruptible wait (a slow disk, vfork's parent) stops only when that ends.
constexpr std::chrono::milliseconds kFreezePatience(2000);

struct Freezer {
  CgroupDirectory const* directory;
  bool v1;

  Result<void> set(bool frozen) const {
    if (v1) return directory->write("freezer.state", frozen ? "FROZEN" : "THAWED");
    return directory->write("cgroup.freeze", frozen ? "1" : "0");
  }
  Result<bool> is_frozen() const {
    if (v1) return trim(TRY(directory->read("freezer.state"))) == "FROZEN";
    return flat_value(TRY(directory->read("cgroup.events")), "frozen") == 1;
  }
};

Result<Freezer> find(CgroupDirectory const* v1, CgroupDirectory const* v2) {
  if (v1 != nullptr) return Freezer{v1, true};
  if (v2 != nullptr) return Freezer{v2, false};
  return Error(Errc::kUnimplemented, "pause: this host has neither a 'freezer' hierarchy nor cgroup v2");
}

}  // namespace

Result<void> Cgroup::freeze() {
  Freezer const freezer = TRY(find(v1_directory("freezer"), v2_directory()));
  Backoff backoff(kFreezePatience);
  do {
    // v1: written again each time; a process that forks at the wrong moment is caught by the next write only.
    TRY_CTX(freezer.set(true), "pause");
    bool const done = TRY_CTX(freezer.is_frozen(), "pause");
    if (done) return {};
  } while (backoff.wait());
  TRY_CTX(freezer.set(false), "pause: give up");
  return Error(Errc::kDeadlineExceeded, "pause " + freezer.directory->path() +
                                            ": some process did not stop within 2 seconds (it waits for a device?)");
}

Result<void> Cgroup::thaw() {
  Freezer const freezer = TRY(find(v1_directory("freezer"), v2_directory()));
  TRY_CTX(freezer.set(false), "resume");
  return {};
}

Result<bool> Cgroup::frozen() const {
  Result<Freezer> const freezer = find(v1_directory("freezer"), v2_directory());
  if (!freezer) return false;
  Result<bool> state = freezer->is_frozen();
  // A group that is gone holds nothing that could be frozen.
  if (!state && state.error().error_number() == ENOENT) return false;
  return state;
}

}  // namespace davit::runtime
