#include "monitor/oom_watch.h"

#include <fcntl.h>

#include <array>
#include <utility>

#include "runtime/cgroup/cgroup.h"
#include "sys/file.h"
#include "sys/pipe.h"
#include "sys/polling.h"

namespace davit::monitor {

void OomWatch::start(std::map<std::string, std::string> const& cgroup_paths) {
  paths_ = cgroup_paths;
  first_count_ = runtime::Cgroup::from_paths(paths_).oom_kill_count().value_or(0);
  seen_count_ = first_count_;
  Result<void> watched = Error(Errc::kUnimplemented, "no memory cgroup");
  if (auto const v1 = paths_.find("memory"); v1 != paths_.end()) {
    watched = watch_v1(v1->second);
  } else if (auto const v2 = paths_.find(""); v2 != paths_.end()) {
    watched = watch_v2(v2->second);
  }
  if (!watched) stop();
}

void OomWatch::stop() {
  watch_.reset();
  event_.reset();
  control_.reset();
}

Result<void> OomWatch::watch_v1(std::string const& directory) {
  UniqueFd const dir = TRY(sys::open(directory, O_PATH | O_DIRECTORY));
  control_ = TRY(sys::openat(dir.get(), "memory.oom_control", O_RDONLY));
  event_ = TRY(sys::event_fd());
  TRY(sys::write_knob(dir.get(), "cgroup.event_control",
                      std::to_string(event_.get()) + " " + std::to_string(control_.get())));
  control_.reset();  // the kernel has its own reference
  watch_ = TRY(loop_.watch(event_.get(), EPOLLIN, [this](std::uint32_t) { on_event(); }));
  return {};
}

Result<void> OomWatch::watch_v2(std::string const& directory) {
  event_ = TRY(sys::watch_file(directory + "/memory.events"));
  watch_ = TRY(loop_.watch(event_.get(), EPOLLIN, [this](std::uint32_t) { on_event(); }));
  return {};
}

void OomWatch::on_event() {
  std::array<char, 512> bytes;
  Result<sys::Transfer> const transfer = sys::read_now(event_.get(), bytes);
  // The removal of a v1 group is an event too.
  if (!transfer || transfer->state == sys::Transfer::State::kEnd || !update()) stop();
}

// False when there is no counter any more.
bool OomWatch::update() {
  Result<std::uint64_t> const count = runtime::Cgroup::from_paths(paths_).oom_kill_count();
  if (!count) return false;
  if (*count > std::exchange(seen_count_, *count)) on_oom_();
  return true;
}

bool OomWatch::killed() {
  // The event may still be on its way when the exit is seen: whoever listens hears of the kill first.
  update();
  return seen_count_ > first_count_;
}

}  // namespace davit::monitor
